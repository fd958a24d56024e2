"""Whether a model reads each prompt of a batch as it reads it alone: found by trying, before anything is asked."""

from __future__ import annotations

import torch

from culture_neurons.errors import ModelError
from culture_neurons.files import first_line
from culture_neurons.models.batching import is_out_of_memory
from culture_neurons.models.forward import forward
from culture_neurons.models.loading import Loaded
from culture_neurons.models.shared_contexts import has_kinds

#: Prompts of different lengths, so that the first is padded, and by more than the blocks in which some models compress
#: what they have read (DeepSeek-V4): within one, padding shows in nothing.
_TEXTS = ("The answer is what", 4 * "The question is which of these options is the right one, and why. ")
#: How far logits may lie apart, as a share of their standard deviation: in half precision numbers depend on the shape.
_TOLERANCE = {"float32": 1e-3}
_HALF = 0.2


@torch.inference_mode()
def check_padding(loaded: Loaded, generates: bool = False) -> None:
    """Raise ModelError for a model whose answer to a prompt depends on the padding before it, or that answers none.

    Some count positions from the padding, and take none from outside (BART's decoder, learned ones). Their answers and
    activations would depend on what shares the batch. Others (Whisper's decoder) do so only where they generate, which
    is looked at with `generates`.
    """
    together = loaded.tokenizer(list(_TEXTS), padding=True, add_special_tokens=False, return_tensors="pt")
    valid = together["attention_mask"][0].bool()
    if bool(valid.all()):
        return  # a tokenizer that has nothing to pad
    ids = together["input_ids"]
    padded = _last_logits(loaded, ids, together["attention_mask"])
    alone = _last_logits(loaded, ids[:1, valid], torch.ones(1, int(valid.sum()), dtype=torch.long))
    apart = _distance(padded, alone)
    tolerance = _TOLERANCE.get(loaded.dtype, _HALF)
    if not apart <= tolerance:
        raise ModelError(
            f"model {loaded.name!r}: its answer to a prompt depends on the padding before it (logits {apart:.2g} "
            "standard deviations apart), so that questions can't be asked in batches; expected a model that takes "
            "position_ids, or heeds its attention mask alone"
        )
    if not generates:
        return
    apart = _distance(_first_generated(loaded, ids, together["attention_mask"]), alone)
    if not apart <= tolerance:
        raise ModelError(
            f"model {loaded.name!r}: what it generates behind a prompt depends on the padding before it (logits "
            f"{apart:.2g} standard deviations apart); set batch_size: 1, or prompt: answer: logprob"
        )


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far logits [vocabulary] lie apart, in standard deviations of the second."""
    return float((one - other).abs().max() / other.std().clamp_min(1e-12))


def _inputs(loaded: Loaded, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is read, with the kind of each token where a processor would give it (PaliGemma's prefix)."""
    inputs = {"input_ids": ids, "attention_mask": mask}
    if has_kinds(loaded):
        inputs["token_type_ids"] = torch.zeros_like(ids)
    return {name: value.to(loaded.model.device) for name, value in inputs.items()}


def _first_generated(loaded: Loaded, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Logits behind the first prompt as `generate` computes them, float64 [vocabulary]."""
    inputs = _inputs(loaded, ids, mask)
    output = loaded.model.generate(
        **inputs, max_new_tokens=1, do_sample=False, temperature=None, top_p=None, top_k=None,
        pad_token_id=loaded.tokenizer.pad_token_id, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    return output.logits[0][0].double().cpu()


def _last_logits(loaded: Loaded, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Logits behind the first prompt, float64 [vocabulary]."""
    inputs = _inputs(loaded, ids, mask)
    try:
        return forward(loaded, inputs).logits[0, -1].double().cpu()
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"model {loaded.name!r}: can't be asked in words alone ({type(error).__name__}: {first_line(error)}); "
            "expected a model that takes input_ids and attention_mask and gives logits"
        ) from None
