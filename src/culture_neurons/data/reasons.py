"""Why a row was left out: the exact strings of `dropped.csv`, of the log and of the report.

`filtering` gives them to rows, as do `labels`, `images` and readers.
"""

from __future__ import annotations

MISSING_ID = "missing id"
DUPLICATE_ID = "duplicate id"
OTHER_LANGUAGE = "another language of the country"
FURTHER_VARIANT = "further variant of a question"
PROMPT = "prompt not understood"
SUBSET = "subset not understood"
LITTLE_KNOWN = "too small or too little known"
PART_OF_PLACE = "near a better known city, may be a part of it"
MINOR_REGION = "region of a lower level or of a minor type"
NOT_REGULAR = "not a holiday in every year"
NOT_A_NAME = "not a plain name"
NAMES_COUNTRY = "holds the name or adjective of a country"
SHARED = "belongs to several countries"
OTHER_FORM = "another form of an item of the country"
GIVEN_AWAY = "too few options of its kind and script"
OF_CULTURE = "a unit of one culture"
SEVERAL_QUANTITIES = "not certainly a unit of one quantity"
NAMES_ANSWER = "its name holds the name of a quantity"
NO_ABBREVIATION = "no abbreviation in letters"
SHARED_ABBREVIATION = "its abbreviation stands for several units"
UNUSUAL = "unusual abbreviation"
MISSING_CULTURE = "missing culture"
BAD_NAME = "control character in a name"
LONG_NAME = "name too long"
EMPTY_QUESTION = "empty question"
NO_OPTIONS = "options are no list"
FEW_OPTIONS = "fewer than two options"
MANY_OPTIONS = "more than 26 options"
EMPTY_OPTION = "empty option"
EQUAL_OPTIONS = "two equal options"
OPTION_CULTURES = "cultures of options do not fit them"
LONG_TEXT = "text too long"
BAD_TEXT = "text is no valid Unicode"
HIDDEN_LABEL = "label missing or hidden"
BAD_LABEL = "label not understood"
TWO_WAYS = "label can be read in two ways"
LABEL_OUTSIDE = "label outside its options"
CULTURE_NOT_CHOSEN = "culture not chosen"
CATEGORY_NOT_CHOSEN = "category not chosen"
NOT_IN_SPLIT = "category in neither half"
BAD_IMAGE = "unreadable image"
IMAGE_OUTSIDE = "image outside image_root"
LONG_IMAGE = "aspect ratio of the image too large"
FEW_SAMPLES = "too few samples in culture"
NOT_LARGEST = "culture not among the largest"
JUDGES = "judges neurons in another data set"

#: All reasons, in the order in which they are looked for: a row gets the first that applies.
ALL = (
    MISSING_ID,
    DUPLICATE_ID,
    OTHER_LANGUAGE,
    FURTHER_VARIANT,
    PROMPT,
    SUBSET,
    LITTLE_KNOWN,
    PART_OF_PLACE,
    MINOR_REGION,
    NOT_REGULAR,
    NOT_A_NAME,
    NAMES_COUNTRY,
    SHARED,
    OTHER_FORM,
    GIVEN_AWAY,
    OF_CULTURE,
    SEVERAL_QUANTITIES,
    NAMES_ANSWER,
    NO_ABBREVIATION,
    SHARED_ABBREVIATION,
    UNUSUAL,
    MISSING_CULTURE,
    BAD_NAME,
    LONG_NAME,
    EMPTY_QUESTION,
    NO_OPTIONS,
    FEW_OPTIONS,
    MANY_OPTIONS,
    EMPTY_OPTION,
    BAD_TEXT,
    LONG_TEXT,
    EQUAL_OPTIONS,
    OPTION_CULTURES,
    HIDDEN_LABEL,
    BAD_LABEL,
    TWO_WAYS,
    LABEL_OUTSIDE,
    CULTURE_NOT_CHOSEN,
    CATEGORY_NOT_CHOSEN,
    NOT_IN_SPLIT,
    IMAGE_OUTSIDE,
    BAD_IMAGE,
    LONG_IMAGE,
    FEW_SAMPLES,
    NOT_LARGEST,
    JUDGES,
)
#: Those that say nothing of a row, but of what was chosen.
OF_CHOICES = (CULTURE_NOT_CHOSEN, CATEGORY_NOT_CHOSEN, NOT_IN_SPLIT, FEW_SAMPLES, NOT_LARGEST)
