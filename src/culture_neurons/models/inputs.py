"""From samples to what a model reads: rendered prompts, their lengths, and processed batches."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from PIL import Image

from culture_neurons.data import prompts
from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.files import first_line
from culture_neurons.models.loading import Loaded
from culture_neurons.models.markers import as_text, control_texts
from culture_neurons.types import Sample

#: Opens the image reference of a sample (RGB), or gives None for None.
Opener = Callable[[Mapping[str, Any] | None], Image.Image | None]

#: Tokens of an image that a processor can't tell: one for each square of so many pixels a side.
_PIXELS = 28


@dataclass(frozen=True)
class Prompt:
    """What the model is asked, beside the sample.

    instruction     the fixed last line of the user's turn
    seed            of the order of the options
    answer          "logprob" or "generate"
    max_new_tokens  for "generate"
    """

    instruction: str = prompts.INSTRUCTION
    seed: int = 1
    answer: str = "logprob"
    max_new_tokens: int = 20

    def __post_init__(self) -> None:
        if self.answer not in ("logprob", "generate"):
            raise ConfigError(
                f"answer {self.answer!r}{nearest(self.answer, ('logprob', 'generate'))}; expected logprob or generate"
            )


@dataclass(frozen=True)
class Question:
    """A sample as the model's chat template renders it.

    order      the shuffled order of its options
    text       the whole prompt
    content    the question and its options, as they stand in `text`
    broken     whether control texts in it were broken (`models.markers`)
    """

    sample: Sample
    order: tuple[int, ...]
    text: str
    content: str
    broken: bool = False


@dataclass(frozen=True)
class Batch:
    """Questions with their processed inputs, padded on the left.

    inputs     tensors for the model's forward pass, [batch, ...]
    content    bool [batch, token]: text tokens of the question and its options; None if not asked for
    image_of   per image of the batch, in order, the index of the first image that shows the same
    """

    questions: Sequence[Question]
    inputs: Mapping[str, torch.Tensor]
    content: torch.Tensor | None = None
    image_of: tuple[int, ...] = ()

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

    Raises ModelError when there is no template, or when a sample has an image and the model reads none.
    """
    if loaded.image_token_id is None:
        sample = next((s for s in samples if s.image is not None), None)
        if sample is not None:
            raise ModelError(
                f"model {loaded.name!r} is a language model and sample {sample.sample_id!r} has an image; "
                "set images: none in the data source"
            )
    controls = control_texts(loaded, _render(loaded, "?", with_image=False)) if samples else []
    questions = []
    for sample in samples:
        order = prompts.option_order(sample.sample_id, len(sample.options), prompt.seed)
        plain = as_text(sample, controls)
        text = _render(loaded, prompts.user_text(plain, order, prompt.instruction), sample.image is not None)
        questions.append(Question(sample, order, text, prompts.content(plain, order), broken=plain is not sample))
    return questions


def lengths(loaded: Loaded, questions: Sequence[Question]) -> np.ndarray:
    """Tokens of each question, int64 [question]: those of its text, and those of its image by the image's size.

    Exact where the processor can tell what an image takes; good enough to sort by elsewhere.
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
        # The text holds one placeholder for the image already.
        more = np.array(count(image_sizes=[(height, width) for width, height in sizes]).num_image_tokens) - 1
    else:
        more = np.array([width * height // _PIXELS**2 for width, height in sizes], dtype=np.int64)
    result[sized] += more.astype(np.int64)
    return result


def prepare(loaded: Loaded, samples: Sequence[Sample], opener: Opener, prompt: Prompt, content: bool = False) -> Batch:
    """Render and process the prompts of one batch; see `render` and `process`."""
    return process(loaded, render(loaded, samples, prompt), opener, content)


def process(loaded: Loaded, questions: Sequence[Question], opener: Opener, content: bool = False) -> Batch:
    """Tokenise and pad one batch and its images; an image that several questions show is opened once.

    `content` asks for the tokens of the question and its options, which needs a tokenizer with offsets.
    Raises ModelError for an image that the processor refuses.
    """
    texts = [question.text for question in questions]
    first: dict[str, int] = {}
    images, image_of = [], []
    for sample in (question.sample for question in questions):
        if sample.image is None:
            continue
        at = len(images)
        same = first.setdefault(sample.image_id or f"\0{at}", at)
        images.append(opener(sample.image) if same == at else images[same])
        image_of.append(same)
    bos = loaded.tokenizer.bos_token
    arguments: dict[str, Any] = {
        "text": texts,
        "return_tensors": "pt",
        "padding": True,
        "return_offsets_mapping": content,
        # A chat template that writes the start token itself must not get a second one.
        "add_special_tokens": not (bos and texts[0].startswith(bos)),
    }
    if images:
        arguments["images"] = images
    try:
        inputs = dict(loaded.processor(**arguments))
    except (ValueError, TypeError) as error:
        # Such as an image of 2000 x 3 pixels, which Qwen's processor refuses.
        ids = ", ".join(repr(question.sample.sample_id) for question in questions[:5])
        raise ModelError(
            f"model {loaded.name!r}: its processor refuses one of the samples {ids}"
            f"{' ...' if len(questions) > 5 else ''} ({first_line(error)}); leave it out, or set processor"
        ) from None
    offsets = inputs.pop("offset_mapping", None)
    accepted = inspect.signature(loaded.model.forward).parameters
    if "token_type_ids" not in accepted:
        inputs.pop("token_type_ids", None)
    marked = _content_tokens(loaded, inputs, offsets, questions) if content else None
    return Batch(tuple(questions), inputs, marked, tuple(image_of))


def _render(loaded: Loaded, text: str, with_image: bool) -> str:
    chat = prompts.messages(text, with_image)
    if loaded.image_token_id is None:  # templates of language models expect plain text
        chat = [{"role": "user", "content": text}]
    try:
        return loaded.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    except (ValueError, TemplateError) as error:
        raise ModelError(
            f"model {loaded.name!r}: no chat template, or one that fails ({first_line(error)}); "
            "set chat_template in its stanza of the config"
        ) from None


def _content_tokens(
    loaded: Loaded,
    inputs: Mapping[str, torch.Tensor],
    offsets: torch.Tensor,
    questions: Sequence[Question],
) -> torch.Tensor:
    """Tokens of question and options, bool [batch, token], by their character offsets.

    The processor writes an image placeholder out as many, so that offsets behind it are shifted
    by the same amount in the whole rest of the text; images stand before the content.

    Raises ModelError when the marked tokens are not those of the content: the template or the
    processor of the model writes something that this does not know.
    """
    ids, token_id = inputs["input_ids"], loaded.image_token_id
    placeholder = loaded.tokenizer.convert_ids_to_tokens(token_id) if token_id is not None else None
    result = torch.zeros(ids.shape, dtype=torch.bool)
    valid = inputs["attention_mask"].bool()
    for b, (text, content) in enumerate((question.text, question.content) for question in questions):
        start = text.rfind(content.strip())
        end = start + len(content.strip())
        at = (ids[b] == token_id).nonzero() if token_id is not None else torch.empty(0)
        shift = int(offsets[b, at[-1, 0], 1]) - (text.rfind(placeholder) + len(placeholder)) if len(at) else 0
        result[b] = (offsets[b, :, 0] < end + shift) & (offsets[b, :, 1] > start + shift) & valid[b]
        if start < 0 or not _same_ends(loaded.tokenizer.decode(ids[b][result[b]]), content):
            raise ModelError(
                f"model {loaded.name!r}: the tokens of the question can't be told in its prompts; "
                "use token rule all, image or last"
            )
    return result


def _same_ends(text: str, content: str, n: int = 4) -> bool:
    """Whether two texts begin and end with the same letters and digits, whatever the tokenizer did to the rest."""
    a, b = ([c for c in unicodedata.normalize("NFKC", t).casefold() if c.isalnum()] for t in (text, content))
    return a[:n] == b[:n] and a[-n:] == b[-n:]
