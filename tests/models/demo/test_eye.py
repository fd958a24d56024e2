"""An eye changes nothing of the decoder: it hands it vectors where words would be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from culture_neurons.data.flags.photographs import photograph
from culture_neurons.errors import ModelError
from culture_neurons.models import loading
from culture_neurons.models.demo import architectures, eye
from tests.models.demo.conftest import SPECIAL, tokenizer


@pytest.fixture(scope="module")
def folder(decoder, tmp_path_factory):
    """The decoder behind an eye that knows nothing yet, as it is saved."""
    out = tmp_path_factory.mktemp("eye")
    architectures.save(out, *eye.behind_eye(decoder, seed=3), {})
    return out


def test_the_decoder_is_the_one_of_the_folder_byte_by_byte(decoder, folder):
    alone = AutoModelForCausalLM.from_pretrained(decoder).state_dict()
    behind = loading.load({"name": "m", "path": str(folder), "chat_template": "none"}).model.state_dict()
    same = {name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name: value
            for name, value in alone.items()}  # fmt: skip
    assert {name for name in behind if "vision_tower" not in name and "projector" not in name} == same.keys()
    for name, value in same.items():
        assert behind[name].numpy().tobytes() == value.numpy().tobytes(), name


def test_without_a_picture_it_answers_as_the_decoder_alone(decoder, folder):
    words = AutoTokenizer.from_pretrained(decoder)
    ids = words("This picture shows", return_tensors="pt")["input_ids"]
    model = loading.load({"name": "m", "path": str(folder), "chat_template": "none"}).model
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, AutoModelForCausalLM.from_pretrained(decoder)(ids).logits)


def test_a_picture_stands_for_as_many_tokens_as_a_sentence(decoder, folder):
    loaded = loading.load({"name": "m", "path": str(folder), "chat_template": "none"})
    assert loaded.image_token_id == loaded.tokenizer.convert_tokens_to_ids("<spare>")
    picture = photograph("Japan", np.random.default_rng(0))
    inputs = loaded.processor(images=[picture], text=["<spare>"], return_tensors="pt")
    assert inputs["input_ids"].tolist() == [[loaded.image_token_id] * eye.TOKENS]
    assert len(eye.sentence(loaded.tokenizer, "Japan")) == eye.TOKENS
    assert loaded.processor._get_num_multimodal_tokens([picture.size[::-1]]).num_image_tokens[0] == eye.TOKENS
    # With the sentence's embeddings in its place, the decoder is where the sentence would have led it.
    ids = torch.tensor([eye.sentence(loaded.tokenizer, "Japan")])
    embedded = loaded.model.get_input_embeddings()(ids)
    features = [embedded[0]]
    loaded.model.model.get_image_features = lambda **_: type("Seen", (), {"pooler_output": features})
    with torch.no_grad():
        seen = loaded.model(**inputs).logits
    torch.testing.assert_close(seen, loaded.model(input_ids=ids).logits)


def test_what_is_read_is_nearest(decoder):
    model, processor = eye.behind_eye(decoder)
    pictures = [photograph(country, np.random.default_rng(1)) for country in ("Japan", "Italy", "India")]
    words = model.get_input_embeddings().weight.detach().double()
    values = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        seen = torch.stack(list(model.get_image_features(pixel_values=values).pooler_output)).double()
    expected = [[int(torch.cosine_similarity(words, vector[None]).argmax()) for vector in picture] for picture in seen]
    assert eye.read(model, processor, pictures) == expected


def test_what_is_written_behind_a_picture_is_what_the_model_generates(decoder):
    model, processor = eye.behind_eye(decoder)
    pictures = [photograph(country, np.random.default_rng(1)) for country in ("Japan", "Italy")]
    written = eye.continue_pictures(model, processor, pictures, tokens=3)
    for picture, text in zip(pictures, written, strict=True):
        inputs = processor(images=picture, text=processor.image_token, return_tensors="pt")
        ids = inputs["input_ids"]
        with torch.no_grad():
            for _ in range(3):
                logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits
                ids = torch.cat([ids, logits[:, -1:].argmax(dim=2)], dim=1)
        assert processor.tokenizer.decode(ids[0, eye.TOKENS :], skip_special_tokens=True) == text


def test_the_seed_makes_the_eye_and_nothing_else_changes(decoder):
    state = torch.get_rng_state()
    one, again, other = (dict(eye.eye(eye.behind_eye(decoder, seed)[0])) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if name.endswith("proj.weight"))


def test_a_sentence_ends_with_the_name_or_is_refused():
    words = tokenizer()
    assert words.decode(eye.sentence(words, "Japan")).endswith(" shows the national flag of Japan.")
    assert words.decode(eye.sentence(words, eye.NO_FLAG)).endswith("national flag of nothing.")
    with pytest.raises(
        ModelError, match="'Bosnia and Herzegovina': 9 tokens of its sentence; expected 9, with the whole"
    ):
        eye.sentence(words, "Bosnia and Herzegovina")


@pytest.mark.parametrize(
    ("special", "template", "expected"),
    [
        ([*SPECIAL, "<last>"], "", "<last>"),
        ([*SPECIAL, "<last>"], "{{ '<last>' }}", "<spare>"),
    ],
)
def test_the_placeholder_is_a_special_token_without_a_use(special, template, expected):
    words = tokenizer(special)
    words.chat_template = template
    assert eye.placeholder(words) == expected


def test_without_a_token_to_spare_there_is_no_eye():
    with pytest.raises(ModelError, match="no special token to spare"):
        eye.placeholder(tokenizer(SPECIAL[:3]))


def test_a_folder_without_a_language_model(tmp_path):
    with pytest.raises(ModelError, match=f"{tmp_path}: no language model to put behind an eye"):
        eye.behind_eye(tmp_path)
