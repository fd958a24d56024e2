"""Asking a model multiple-choice questions.

The answer is read in one forward pass: the log-probabilities of the option letters at the
position where the answer starts, over the whole vocabulary. `answer: generate` is the
protocol of Zhao et al. (arXiv 2510.24942): greedy decoding of at most 20 tokens, parsed.
"""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from PIL import Image

from culture_neurons.data import prompts
from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.files import first_line
from culture_neurons.models.loading import Loaded
from culture_neurons.types import Sample

#: Opens the image reference of a sample (RGB), or gives None for None.
Opener = Callable[[Mapping[str, Any] | None], Image.Image | None]

#: How one option letter can stand in a vocabulary: alone, after a space (byte-level BPE or SentencePiece).
_LETTER_FORMS = ("{}", "Ġ{}", "▁{}")


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
class Batch:
    """Samples with their processed inputs, padded on the left.

    orders     the shuffled order of each sample's options
    inputs     tensors for the model's forward pass, [batch, ...]
    content    bool [batch, token]: text tokens of the question and its options; None if not asked for
    """

    samples: Sequence[Sample]
    orders: Sequence[tuple[int, ...]]
    inputs: Mapping[str, torch.Tensor]
    content: torch.Tensor | None = None


@dataclass(frozen=True)
class Answer:
    """What a model answered: indices and log-probabilities (nats) are in the original order of the options."""

    prediction: int
    well_formed: bool
    logprobs: tuple[float, ...]


def batches(
    loaded: Loaded,
    samples: Sequence[Sample],
    opener: Opener,
    prompt: Prompt,
    batch_size: int,
    content: bool = False,
) -> Iterator[Batch]:
    """Process samples into batches of similar length, so that little is padded; each input is processed once.

    `content` asks for the tokens of the question and its options, which needs a tokenizer with offsets.
    """
    ordered = sorted(samples, key=lambda s: (s.image is None, _length(s), s.sample_id))
    for start in range(0, len(ordered), batch_size):
        yield prepare(loaded, ordered[start : start + batch_size], opener, prompt, content)


def _length(sample: Sample) -> int:
    return len(sample.question) + sum(map(len, sample.options))


def prepare(loaded: Loaded, samples: Sequence[Sample], opener: Opener, prompt: Prompt, content: bool = False) -> Batch:
    """Render, tokenise and pad the prompts of one batch."""
    orders = [prompts.option_order(s.sample_id, len(s.options), prompt.seed) for s in samples]
    special = _special_tokens(loaded)
    plain = [_without_special_tokens(s, special) for s in samples]
    contents = [prompts.content(s, order) for s, order in zip(plain, orders, strict=True)]
    texts = [
        _render(loaded, prompts.user_text(s, order, prompt.instruction), s.image is not None)
        for s, order in zip(plain, orders, strict=True)
    ]
    images = [opener(s.image) for s in samples if s.image is not None]
    if images and loaded.image_token_id is None:
        sample = next(s for s in samples if s.image is not None)
        raise ModelError(
            f"model {loaded.name!r} is a language model and sample {sample.sample_id!r} has an image; "
            "set images: none in the data source"
        )
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
        ids = ", ".join(repr(s.sample_id) for s in samples[:5])
        raise ModelError(
            f"model {loaded.name!r}: its processor refuses one of the samples {ids}"
            f"{' ...' if len(samples) > 5 else ''} ({first_line(error)}); leave it out, or set processor"
        ) from None
    offsets = inputs.pop("offset_mapping", None)
    accepted = inspect.signature(loaded.model.forward).parameters
    if "token_type_ids" not in accepted:
        inputs.pop("token_type_ids", None)
    marked = _content_tokens(loaded, inputs, offsets, texts, contents) if content else None
    return Batch(samples, orders, inputs, marked)


def _special_tokens(loaded: Loaded) -> list[str]:
    """Texts that the tokenizer reads as control tokens, such as "<image>"; long ones first."""
    tokens = {str(t) for t in loaded.tokenizer.all_special_tokens} | set(loaded.tokenizer.get_added_vocab())
    return sorted((t for t in tokens if len(t) > 1 and not t.isalnum()), key=lambda t: (-len(t), t))


def _without_special_tokens(sample: Sample, special: Sequence[str]) -> Sample:
    """Break up control tokens in the data's texts, so that they are read as text."""

    def plain(text: str) -> str:
        for token in special:
            if token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    return replace(sample, question=plain(sample.question), options=tuple(map(plain, sample.options)))


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
    texts: Sequence[str],
    contents: Sequence[str],
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
    for b, (text, content) in enumerate(zip(texts, contents, strict=True)):
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


def letter_tokens(loaded: Loaded, n_options: int) -> list[list[int]]:
    """Ids of the tokens that stand for each option letter, with or without a space before it.

    Raises ModelError when the vocabulary has no token for a letter.
    """
    tokenizer = loaded.tokenizer

    def known(token: str) -> list[int]:
        # Not through get_vocab, which copies 150,000 entries at every call.
        found = tokenizer.convert_tokens_to_ids(token)
        return [found] if found is not None and tokenizer.convert_ids_to_tokens(found) == token else []

    result = [
        [i for form in _LETTER_FORMS for i in known(form.format(letter))] for letter in prompts.LETTERS[:n_options]
    ]
    for letter, ids in zip(prompts.LETTERS, result, strict=False):
        if not ids:
            raise ModelError(f"model {loaded.name!r}: its vocabulary has no token for the option letter {letter!r}")
    return result


@torch.inference_mode()
def answer(loaded: Loaded, batch: Batch, prompt: Prompt) -> list[Answer]:
    """Answer every sample of a batch; logits are computed at the last position only."""
    inputs = on_device(loaded, batch)
    texts: list[str | None] = [None] * len(batch.samples)
    if prompt.answer == "generate":
        output = loaded.model.generate(
            **inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False, temperature=None, top_p=None, top_k=None,
            # Saved generation settings (Qwen's penalise repetition) apply to greedy decoding too, unless overruled.
            repetition_penalty=1.0, no_repeat_ngram_size=0,
            pad_token_id=loaded.tokenizer.pad_token_id, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        logits = output.logits[0]
        new = output.sequences[:, inputs["input_ids"].shape[1] :]
        texts = list(loaded.tokenizer.batch_decode(new, skip_special_tokens=True))
    else:
        logits = forward(loaded, inputs).logits[:, -1]
    logprobs = logits.float().log_softmax(dim=-1)
    best = logprobs.argmax(dim=-1).cpu().numpy()
    letters = letter_tokens(loaded, max(len(order) for order in batch.orders))
    by_letter = torch.stack([logprobs[:, ids].logsumexp(dim=-1) for ids in letters], dim=1).cpu().numpy()
    if np.isnan(by_letter).any():
        bad = batch.samples[int(np.isnan(by_letter).any(axis=1).argmax())]
        raise ModelError(
            f"model {loaded.name!r}: not-a-number in the answer to sample {bad.sample_id!r}; "
            "try dtype bfloat16 or float32"
        )
    return [_answer(order, by_letter[b], int(best[b]), letters, texts[b]) for b, order in enumerate(batch.orders)]


def _answer(
    order: tuple[int, ...], by_letter: np.ndarray, best: int, letters: list[list[int]], text: str | None
) -> Answer:
    n = len(order)
    logprobs = np.empty(n, dtype=np.float32)
    logprobs[list(order)] = by_letter[:n]
    if text is None:
        position = int(by_letter[:n].argmax())
        well_formed = any(best in ids for ids in letters[:n])
    else:
        position = prompts.parse_answer(text, n)
        well_formed = position >= 0
    return Answer(order[position] if position >= 0 else -1, well_formed, tuple(logprobs.tolist()))


def on_device(loaded: Loaded, batch: Batch) -> dict[str, torch.Tensor]:
    """The inputs on the device of the model's first layer; floating-point ones in the model's dtype."""
    device, dtype = loaded.model.device, loaded.model.dtype
    return {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in batch.inputs.items()}


def forward(loaded: Loaded, inputs: Mapping[str, torch.Tensor]) -> Any:
    """One forward pass without a cache, logits at the last position only.

    Positions count from a sample's first token, so that padding on the left shifts nothing;
    models with positions of their own (Qwen's three-dimensional ones) compute them.
    """
    more: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(loaded.model.forward).parameters:
        more["logits_to_keep"] = 1
    if not hasattr(getattr(loaded.model, "model", loaded.model), "get_rope_index"):
        more["position_ids"] = (inputs["attention_mask"].long().cumsum(dim=-1) - 1).clamp_min(0)
    return loaded.model(**inputs, **more, use_cache=False)
