"""From samples to what a model reads: rendered prompts, their lengths, and processed batches."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from culture_neurons.data import prompts
from culture_neurons.errors import ConfigError, DataError, ModelError, nearest
from culture_neurons.files import first_line
from culture_neurons.models.loading import Loaded
from culture_neurons.models.markers import as_text, control_texts
from culture_neurons.models.option_inputs import with_options, with_right_options
from culture_neurons.models.option_rows import continuation, without_last_spaces
from culture_neurons.models.option_scores import PMI, SCORES, OptionReads, OptionTexts
from culture_neurons.models.processing import call_processor, takes_of
from culture_neurons.models.shared_contexts import shares_contexts
from culture_neurons.types import Sample

#: Opens the image reference of a sample (RGB), or gives None for None.
Opener = Callable[[Mapping[str, Any] | None], Image.Image | None]

Result = TypeVar("Result")

ANSWERS = ("logprob", "generate", "options")

#: Tokens of an image that a processor can't tell: one for each square of so many pixels a side.
_PIXELS = 28


@dataclass(frozen=True)
class Prompt:
    """What the model is asked, beside the sample.

    instruction     the fixed last line of the user's turn
    seed            of the order of the options
    answer          "logprob" or "generate", by the options' letters; "options", by their texts
    max_new_tokens  for "generate"
    context         for "options": what the options continue, with {question} in it
    option          for "options": how each is written behind the context and the neutral one, with {option} in it
    score           for "options": of `option_scores.SCORES`
    neutral         for "options" and pmi: q0, in the place of {question}; None: each sample's own; "": no context
    """

    instruction: str = prompts.INSTRUCTION
    seed: int = 1
    answer: str = "logprob"
    max_new_tokens: int = 20
    context: str = prompts.TEMPLATES["context"]
    option: str = prompts.TEMPLATES["option"]
    score: str = PMI
    neutral: str | None = None

    def __post_init__(self) -> None:
        for key, value, known in (("answer", self.answer, ANSWERS), ("score", self.score, SCORES)):
            if value not in known:
                raise ConfigError(f"{key} {value!r}{nearest(value, known)}; expected {' or '.join(known)}")
        prompts.check_templates(self.answer, {"context": self.context, "option": self.option})


@dataclass(frozen=True)
class Question:
    """A sample as the model's chat template renders it.

    order      the shuffled order of its options
    text       the whole prompt
    content    the question and its options, as they stand in `text`
    broken     whether control texts in it were broken (`models.markers`)
    options    what may continue `text`; None where the options' letters are asked for
    behind     what is read behind `text` and belongs to the content: the right option, where it is recorded
    """

    sample: Sample
    order: tuple[int, ...]
    text: str
    content: str
    broken: bool = False
    options: OptionTexts | None = None
    behind: str = ""


@dataclass(frozen=True)
class Batch:
    """Questions with their processed inputs, padded on the left.

    inputs     tensors for `forward.forward`, [row, ...]: a row per question, if letters are asked for
    content    bool [batch, token]: text tokens of the question and its options; None if not asked for
    image_of   per image of the batch, in order, the index of the first image that shows the same
    reads      where the texts of options are read off; None where their letters are
    """

    questions: Sequence[Question]
    inputs: Mapping[str, torch.Tensor]
    content: torch.Tensor | None = None
    image_of: tuple[int, ...] = ()
    reads: OptionReads | None = None

    @property
    def samples(self) -> list[Sample]:
        return [question.sample for question in self.questions]

    @property
    def orders(self) -> list[tuple[int, ...]]:
        return [question.order for question in self.questions]

    @property
    def tokens(self) -> int:
        """Tokens with padding: what a forward pass costs, in time and in memory."""
        return self.inputs["input_ids"].numel()


def render(loaded: Loaded, samples: Sequence[Sample], prompt: Prompt) -> list[Question]:
    """Shuffle the options and write each sample's prompt with the model's chat template, its texts as text alone.

    Raises ModelError when there is no template, when a sample has an image and the model reads none, or has none and
    layers of the model need one; ConfigError where they need one and texts of options are asked for.
    """
    if loaded.image_token_id is None:
        sample = next((s for s in samples if s.image is not None), None)
        if sample is not None:
            raise ModelError(
                f"model {loaded.name!r} is a language model and sample {sample.sample_id!r} has an image; "
                "set images: none in the data source"
            )
    _refuse_without_image(loaded, samples, prompt)
    if prompt.answer == "options":
        shares_contexts(loaded)  # it runs the model: now, before any hooks are on it
    controls = control_texts(loaded, loaded.render("?", with_image=False)) if samples else []
    questions = []
    for sample in samples:
        plain = as_text(sample, controls)
        if prompt.answer == "options":
            questions.append(_continued(loaded, sample, plain, prompt))
            continue
        order = prompts.option_order(sample.sample_id, len(sample.options), prompt.seed)
        text = loaded.render(prompts.user_text(plain, order, prompt.instruction), sample.image is not None)
        questions.append(Question(sample, order, text, prompts.content(plain, order), broken=plain is not sample))
    return questions


def _refuse_without_image(loaded: Loaded, samples: Sequence[Sample], prompt: Prompt) -> None:
    """Raise where some layers would not run: Mllama's cross-attention layers do so only where there is an image, and
    a neuron that is not computed is not one that does not fire."""
    layers = getattr(loaded.model.config.get_text_config(), "cross_attention_layers", None)
    if not layers:
        return
    which = f"model {loaded.name!r}: its layers {', '.join(map(str, layers))} run only with an image"
    if prompt.answer == "options":
        raise ConfigError(f"{which}; prompt: answer: 'options' reads texts without one; expected logprob or generate")
    sample = next((sample for sample in samples if sample.image is None), None)
    if sample is not None:
        raise ModelError(f"{which}, and sample {sample.sample_id!r} has none; expected an image with every question")


def _continued(loaded: Loaded, sample: Sample, plain: Sample, prompt: Prompt) -> Question:
    """The question as a context that its options continue."""

    def context(question: str, with_image: bool) -> str:
        return without_last_spaces(loaded.render(prompt.context.replace("{question}", question), with_image))

    neutral = plain.neutral if prompt.neutral is None else prompt.neutral
    texts = tuple(prompt.option.replace("{option}", option) for option in plain.options)
    options = OptionTexts(texts, prompt.score, context(neutral, False) if neutral else "")
    # Without any text there would be no token that an option could follow.
    text = context(plain.question, sample.image is not None) or loaded.tokenizer.bos_token or loaded.tokenizer.eos_token
    return Question(sample, tuple(range(len(plain.options))), text, plain.question, plain is not sample, options)


def contexts(questions: Sequence[Question], right_options: bool = False) -> list[Question]:
    """What is recorded of questions: without the texts of options, or with that of the right one behind each context.

    Raises ConfigError where `right_options` are asked for and options are letters.
    """
    result = []
    for question in questions:
        options, behind = question.options, ""
        if right_options:
            if options is None:
                raise ConfigError("recording: options: true: the options of these prompts are letters; expected false, "
                                  "or prompt: answer: options")  # fmt: skip
            behind = continuation(" ", question.text, options.texts[question.sample.label])
        result.append(replace(question, options=None, behind=behind))
    return result


def count_tokens(loaded: Loaded, questions: Sequence[Question]) -> np.ndarray:
    """Tokens of each question, int64 [question]: those of its text, and those of its image by the image's size; about
    those of its options too, where these are texts.

    Exact where the processor can tell what an image takes; good enough to sort by elsewhere. Raises ModelError, naming
    sample and size, for an image that the processor refuses.
    """
    texts = [question.text for question in questions]
    encoded = (
        loaded.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"] if texts else []
    )
    result = np.array([len(ids) for ids in encoded], dtype=np.int64)
    sized = [i for i, question in enumerate(questions) if question.sample.image_size is not None]
    sizes = [questions[i].sample.image_size for i in sized]
    count = getattr(loaded.processor, "_get_num_multimodal_tokens", None)
    if sizes and count is not None:

        def tokens(indices: Sequence[int]) -> np.ndarray:
            # The text holds one placeholder for the image already.
            shapes = [(sizes[k][1], sizes[k][0]) for k in indices]
            return np.array(count(image_sizes=shapes).num_image_tokens) - 1

        more = _naming_sample(loaded, tokens, [questions[i].sample for i in sized], sizes)
    else:
        more = np.array([width * height // _PIXELS**2 for width, height in sizes], dtype=np.int64)
    result[sized] += more.astype(np.int64)
    for i, question in enumerate(questions):
        if question.options is not None:
            texts = list(question.options.texts)
            result[i] += sum(map(len, loaded.tokenizer(texts, add_special_tokens=False)["input_ids"])) - len(texts)
    return result


def prepare(loaded: Loaded, samples: Sequence[Sample], opener: Opener, prompt: Prompt, content: bool = False) -> Batch:
    """Render and process the prompts of one batch; see `render` and `process`."""
    return process(loaded, render(loaded, samples, prompt), opener, content)


def process(loaded: Loaded, questions: Sequence[Question], opener: Opener, content: bool = False) -> Batch:
    """Tokenise and pad one batch and its images; an image that several questions show is opened once.

    `content` asks for the tokens of the question and its options, which needs a tokenizer with offsets; not where
    texts of options are read.
    Raises ModelError, naming sample and size, for an image that the processor refuses, and DataError, naming the
    sample, for one that can't be opened.
    """
    options = [question.options for question in questions if question.options is not None]
    shared = not options or shares_contexts(loaded)
    rows = questions if shared else [q for q, of in zip(questions, options, strict=True) for _ in of.texts]
    inputs, read, image_of = _processed(loaded, rows, opener, content)
    offsets = inputs.pop("offset_mapping", None)
    texts = [question.text for question in questions]
    if options:
        inputs, reads = with_options(loaded, options, texts, inputs, shared)
        return Batch(tuple(questions), inputs, None, image_of, reads)
    marked = _content_tokens(loaded, inputs, offsets, questions, read) if content else None
    behind = [question.behind for question in questions if question.behind]
    if behind:
        inputs, marked = with_right_options(loaded, behind, texts, inputs, marked)
    return Batch(tuple(questions), inputs, marked, image_of)


def _processed(
    loaded: Loaded, questions: Sequence[Question], opener: Opener, content: bool
) -> tuple[dict[str, Any], list[str], tuple[int, ...]]:
    """What the processor makes of the prompts: inputs, with offsets of tokens if asked for; the texts that its
    tokenizer read; and `Batch.image_of`."""
    texts = [question.text for question in questions]
    first: dict[str, int] = {}
    images, image_of = [], []
    for sample in (question.sample for question in questions):
        if sample.image is None:
            continue
        at = len(images)
        same = first.setdefault(sample.image_id or f"\0{sample.sample_id}", at)
        images.append(_open_image(sample, opener) if same == at else images[same])
        image_of.append(same)
    bos = loaded.tokenizer.bos_token
    arguments: dict[str, Any] = {
        "return_tensors": "pt",
        "padding": True,
        "return_offsets_mapping": content,
        # A chat template that writes the start token itself must not get a second one.
        "add_special_tokens": not (bos and texts[0].startswith(bos)),
    }
    opened = iter(images)
    shown = [None if question.sample.image is None else next(opened) for question in questions]

    def processed(indices: Sequence[int]) -> tuple[dict[str, Any], list[str]]:
        return call_processor(loaded, [texts[k] for k in indices], [shown[k] for k in indices], **arguments)

    sizes = [None if image is None else image.size for image in shown]
    inputs, read = _naming_sample(loaded, processed, [question.sample for question in questions], sizes)
    accepted = inspect.signature(loaded.model.forward).parameters
    if "token_type_ids" not in accepted:
        inputs.pop("token_type_ids", None)
    return inputs, read, tuple(image_of)


def _open_image(sample: Sample, opener: Opener) -> Image.Image | None:
    """The image of a sample. Raises DataError that names the sample too."""
    try:
        return opener(sample.image)
    except DataError as error:
        raise DataError(f"sample {sample.sample_id!r}: {error}") from None


def _naming_sample(
    loaded: Loaded,
    call: Callable[[Sequence[int]], Result],
    samples: Sequence[Sample],
    sizes: Sequence[tuple[int, int] | None],
) -> Result:
    """Call the processor on all samples; whatever it raises becomes a ModelError that names the one it refuses.

    call     (indices) -> what the processor gives for these samples
    sizes    width and height of their images, in pixels

    Processors raise what they like: of an image of 1093 x 5 pixels Qwen's a ValueError, Gemma's an IndexError.
    """
    try:
        return call(range(len(samples)))
    except MemoryError:
        raise
    except Exception as error:
        reason = first_line(error)
    refusal = f"model {loaded.name!r}: its processor refuses"
    for k, sample in enumerate(samples):
        try:
            call([k])
        except Exception as error:
            reason = first_line(error)
            if sizes[k] and (of_any := takes_of(loaded).refusal):
                raise ModelError(
                    f"{refusal} every image ({of_any}); expected a whole processor_config.json in its folder, or what "
                    "is missing there under processor in its stanza"
                ) from None
            if not sizes[k]:
                raise ModelError(f"{refusal} sample {sample.sample_id!r} ({reason}); leave it out") from None
            shape = f"an image of {sizes[k][0]} × {sizes[k][1]} pixels"
            raise ModelError(
                f"{refusal} sample {sample.sample_id!r}, {shape} ({reason}); leave it out, or set processor"
            ) from None
    ids = ", ".join(repr(sample.sample_id) for sample in samples[:5]) + (" ..." if len(samples) > 5 else "")
    raise ModelError(f"{refusal} the samples {ids} in one batch ({reason}), each alone it takes; set batch_size: 1")


def _content_tokens(
    loaded: Loaded,
    inputs: Mapping[str, torch.Tensor],
    offsets: torch.Tensor,
    questions: Sequence[Question],
    read: Sequence[str],
) -> torch.Tensor:
    """Tokens of question and options, bool [batch, token], by their character offsets.

    read  the texts of which these are the tokens: prompts in which the processor wrote images out

    Raises ModelError when the marked tokens are not those of the content: the template or the
    processor of the model writes something that this does not know.
    """
    ids = inputs["input_ids"]
    result = torch.zeros(ids.shape, dtype=torch.bool)
    valid = inputs["attention_mask"].bool()
    for b, (text, content) in enumerate(zip(read, (question.content for question in questions), strict=True)):
        start = text.rfind(content.strip())
        end = start + len(content.strip())
        result[b] = (offsets[b, :, 0] < end) & (offsets[b, :, 1] > start) & valid[b]
        if start < 0 or not _same_ends(loaded.tokenizer.decode(ids[b][result[b]]), content):
            raise ModelError(
                f"model {loaded.name!r}: the tokens of the question can't be told in its prompts; "
                "use token rule all, image or last"
            )
    return result


def _same_ends(text: str, content: str) -> bool:
    """Whether two texts begin and end with the same four letters and digits, whatever the tokenizer did to the rest."""
    a, b = ([c for c in unicodedata.normalize("NFKC", t).casefold() if c.isalnum()] for t in (text, content))
    return a[:4] == b[:4] and a[-4:] == b[-4:]
