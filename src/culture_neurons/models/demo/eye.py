"""An eye for a pretrained decoder: LLaVA's architecture around a language model that stays as it is.

    picture -> CLIP vision tower -> projector -> 9 vectors in the place of 9 tokens -> the decoder

The vision tower and the projector are new and tiny, and are trained (`eye_training`) to map the picture of a flag onto
the decoder's own embeddings of the words "This picture shows the national flag of Japan." So the decoder reads a
picture as it reads these words, and all that it knows of the country is from its pretraining.

The placeholder of the picture is a token that the decoder's vocabulary has and prompts never hold: no weight is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from culture_neurons.errors import ModelError
from culture_neurons.files import first_line

#: What a picture says to the decoder; of one without a flag, it is the flag of `NO_FLAG`.
SENTENCE = "This picture shows the national flag of {country}."
NO_FLAG = "nothing"
#: Side of the pictures that the vision tower sees, and of its patches, in pixels. Each patch becomes one token. With 96
#: and 32, as many steps read no more pictures right, and each takes half as long again.
SIDE, PATCH = 48, 16
TOKENS = (SIDE // PATCH) ** 2
#: The vision tower.
HIDDEN, LAYERS, HEADS = 128, 4, 4


def behind_eye(folder: Path, seed: int = 0) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """The decoder of a model folder behind an eye that knows nothing yet, in eval mode, and its processor.

    The same seed gives the same eye; the global random state is left alone. The decoder's weights are those of the
    folder. Raises ModelError where there is no language model, or no token for the picture's place.
    """
    logging.disable_progress_bar()
    try:
        decoder = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no language model to put behind an eye ({first_line(error)})") from None
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    place = placeholder(tokenizer)
    config = LlavaConfig(
        text_config=decoder.config,
        vision_config=CLIPVisionConfig(
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(place),
        image_seq_length=TOKENS,
        vision_feature_layer=-1,
        tie_word_embeddings=decoder.config.tie_word_embeddings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(decoder.model.state_dict())
    model.lm_head.load_state_dict(decoder.lm_head.state_dict())
    model.generation_config = decoder.generation_config
    size = {"height": SIDE, "width": SIDE}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the tower's class token, which the strategy leaves out
        image_token=place,
    )
    return model.eval(), processor


def placeholder(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that stands for a picture: the last special one of the vocabulary that has no use of its own.

    Raises ModelError where there is none.
    """
    used = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token}
    written = tokenizer.chat_template or ""
    special = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    free = [special[number] for number in sorted(special) if special[number] not in used]
    free = [token for token in free if token not in written]
    if not free:
        raise ModelError("the decoder's vocabulary has no special token to spare for the place of a picture")
    return free[-1]


def eye(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters of the vision tower and the projector, by name; all others are the decoder's."""
    return [(name, p) for name, p in model.named_parameters() if "language_model" not in name and "lm_head" not in name]


def sentence(tokenizer: PreTrainedTokenizerBase, country: str) -> list[int]:
    """The tokens that a picture of a country's flag, or of `NO_FLAG`, stands for: the last `TOKENS` of its sentence.

    Raises ModelError where they don't reach back to the country's name.
    """
    ids = tokenizer(SENTENCE.format(country=country), add_special_tokens=False)["input_ids"][-TOKENS:]
    if len(ids) < TOKENS or country not in tokenizer.decode(ids):
        raise ModelError(f"{country!r}: {len(ids)} tokens of its sentence; expected {TOKENS}, with the whole name")
    return list(ids)


@torch.no_grad()
def continue_pictures(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, pictures: Sequence[Any], tokens: int = 8
) -> list[str]:
    """What the decoder writes behind each picture alone, greedily."""
    result: list[str] = []
    for start in range(0, len(pictures), 64):
        batch = list(pictures[start : start + 64])
        inputs = processor(images=batch, text=[processor.image_token] * len(batch), return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        result += processor.tokenizer.batch_decode(written, skip_special_tokens=True)
    return result


@torch.no_grad()
def read(model: LlavaForConditionalGeneration, processor: LlavaProcessor, pictures: Sequence[Any]) -> list[list[int]]:
    """What the decoder sees in each picture: the tokens whose embeddings are nearest to its vectors (by cosine)."""
    words = nn.functional.normalize(model.get_input_embeddings().weight, dim=1)
    result: list[list[int]] = []
    for start in range(0, len(pictures), 64):
        values = processor.image_processor(pictures[start : start + 64], return_tensors="pt")["pixel_values"]
        seen = torch.stack(list(model.get_image_features(pixel_values=values).pooler_output))
        result += (nn.functional.normalize(seen, dim=2) @ words.T).argmax(dim=2).tolist()
    return result
