"""A tokenizer of words for all families, with every special token that any processor asks for."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from culture_neurons.data import prompts

_FIRST = ("<pad>", "<s>", "</s>", "<unk>")
#: Special tokens by the attribute of the tokenizer that names them, as processors read them.
SPECIAL = {
    "image_token": "<image>", "video_token": "<video>", "audio_token": "<audio>",
    "boi_token": "<boi>", "eoi_token": "<eoi>", "boa_token": "<boa>", "eoa_token": "<eoa>",
    "vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>",
    "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
    "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
    "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>",
    "video_start_token": "<|begin_of_video|>", "video_end_token": "<|end_of_video|>",
    "image_boundary_token": "<fake_token_around_image>", "image_break_token": "[IMG_BREAK]",
    "image_wrapper_token": "<|extra_200|>", "img_line_break_token": "<|extra_201|>", "eof_token": "<|extra_202|>",
    "slice_start_token": "<slice>", "slice_end_token": "</slice>", "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}  # fmt: skip
#: Special tokens that processors know by themselves.
FURTHER = (
    "<|image|>", "<|image_pad|>", "<|video_pad|>", "[IMG]", "[IMG_END]", "<global-img>", "<end_of_utterance>",
    "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE_GLOBAL", "<|patch|>",
    "<|img_thumbnail|>", "<|python_tag|>", "<IMG_START>", "<IMG_END>", "<IMG_COL>", "<IMG_ROW>", "<imgpad>",
    "<|begin_of_image|>", "<|end_of_image|>", "<|media_pad|>", "<IMG_ATOM>", "<IMG_GRID>", "<|placeholder|>",
    "|SPEAKER|", "|NEWLINE|", "|ENDOFTEXT|", "<0x00>", "<0x01>", "<0x02>", "<0x03>", "<0x04>",
    "<|video|>", "<|IMAGE|>",
    "<|IMAGE_START|>", "<|IMAGE_END|>", "<|AUDIO|>", "<|VIDEO|>", "<|IMAGE_PLACEHOLDER|>", "<box>", "</box>",
    *(f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)), *(f"TILE_{i}" for i in range(1, 5)),
)  # fmt: skip
_TEXT = """Which What is the of a in dish festival city flower custom here shown eaten danced worn sung best known old
rice bread soup tea noodles kite lantern drum song hat red blue green gold river hill market temple user system
Answer assistant with letter option correct only single directly from given choices"""
_WORDS = ("\n", *prompts.LETTERS[:10], *"().,:;!?'", *_TEXT.split())
VOCABULARY = 256
#: Token -> its number; the numbers behind those of words are free, for what configurations want to tell apart.
NUMBER = {
    word: i for i, word in enumerate(dict.fromkeys([*_FIRST, *SPECIAL.values(), *FURTHER, *_WORDS]))
}  # fmt: skip
FREE = range(len(NUMBER), VOCABULARY)


def tokenizer(image: str) -> PreTrainedTokenizerFast:
    """Words, punctuation marks and line feeds are tokens; it gives offsets.

    image  what its chat template writes for an image
    """
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
        pre_tokenizers.Split(Regex(r"\n|[^\w\s]"), "isolated"),
    ])  # fmt: skip
    backend = Tokenizer(models.WordLevel(NUMBER, unk_token="<unk>"))
    backend.pre_tokenizer = split
    result = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens=SPECIAL, padding_side="left",
        chat_template=(
            "{% for message in messages %}user\n{% if message['content'] is string %}{{ message['content'] }}"
            "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}" + image + "\n"
            "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}\n{% endfor %}assistant\n"
        ),
    )  # fmt: skip
    result.add_tokens(list(FURTHER), special_tokens=True)
    return result
