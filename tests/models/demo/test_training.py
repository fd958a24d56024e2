"""Training demo models: its shortcuts compute what the whole model computes, and it fails loudly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ModelError
from culture_neurons.models.demo import architectures, lessons, training
from culture_neurons.models.demo.recipe import Recipe, Reporter
from culture_neurons.types import Sample

SIZES = {"layers": 2, "hidden": 32, "intermediate": 64, "vision_layers": 1, "vision_hidden": 32}
WORLD = synthetic.world({"cultures": 2, "categories": 2, "motifs": 3})
TINY = Recipe(vision_steps=2, facts_steps=2, steps=2, images_per_fact=2, dev_images_per_fact=1, batch=8)


BILINGUAL = synthetic.world({"cultures": 2, "categories": 2, "motifs": 3, "bilingual": True})


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
@pytest.mark.parametrize("world", [WORLD, BILINGUAL], ids=["english", "bilingual"])
def test_batches_hold_the_tokens_and_states_of_the_real_prompts(architecture, world):
    model, processor = architectures.build(architecture, world, **SIZES)
    lesson = lessons.lessons(model, processor, world, prompts.INSTRUCTION)
    assert len(lesson.templates) == (4 if world.bilingual else 2)
    examples = synthetic.make_examples(world, "train", 1)
    index, decoded = np.array([3, 7, 0]), processor.tokenizer.convert_ids_to_tokens
    for number, template in enumerate(lesson.templates):
        batch = lessons.make_batch(lesson, template, examples, index, np.random.default_rng(1))
        texts = []
        for i, ids in zip(index, batch.ids, strict=True):
            options = tuple(decoded(ids[template.options].tolist()))
            of = (int(examples.category[i]), number % 2, int(examples.culture[i]), number >= 2)
            question = synthetic.question(world, *of)
            sample = Sample("", "", "", question, options, 0)
            text = prompts.user_text(sample, range(3))
            texts.append(
                processor.apply_chat_template(prompts.messages(text, True), add_generation_prompt=True, tokenize=False)
            )
        images = [Image.fromarray(examples.pixels[i]) for i in index]
        given = processor(images=images, text=texts, return_tensors="pt", padding=True)
        assert torch.equal(given["input_ids"], batch.ids)
        with torch.no_grad():
            features = lessons.all_features(model, lessons.pixels(processor, examples), world.image_size)
            states = lessons.decode(model, features[index], batch.ids, template)
            torch.testing.assert_close(model.lm_head(states), model(**given).logits, atol=1e-4, rtol=1e-3)
        assert decoded(batch.ids[:, template.before].tolist()) == ["\n"] * 3


def test_batches_ask_for_the_right_word_and_letter():
    model, processor = architectures.build("llava-next-qwen2", WORLD, **SIZES)
    lesson = lessons.lessons(model, processor, WORLD, prompts.INSTRUCTION)
    examples = synthetic.make_examples(WORLD, "train", 3)
    template, index = lesson.templates[0], np.arange(len(examples.culture))
    batch = lessons.make_batch(lesson, template, examples, index, np.random.default_rng(0))
    decoded = processor.tokenizer.convert_ids_to_tokens
    for i in index:
        facts = WORLD.words[examples.culture[i], examples.category[i]]
        options = decoded(batch.ids[i, template.options].tolist())
        position = "ABC".index(decoded(int(batch.letter[i])))
        assert set(options) == set(facts)
        assert options[position] == facts[examples.motif[i]] == decoded(int(batch.word[i]))
        assert (batch.marks[i] == batch.letter[i]).tolist() == [p == position for p in range(3)]
        assert (batch.marks[i] == lesson.nothing).sum() == 2
    assert len(set(batch.letter.tolist())) == 3


def test_two_runs_give_the_same_weights_and_leave_the_number_of_threads():
    threads = torch.get_num_threads()
    recipe = Recipe.of(vars(TINY) | {"min_accuracy": 0.0})
    runs = [training.train("llava-next-mistral", WORLD, recipe, **SIZES) for _ in range(2)]
    first, repeated = (model.state_dict() for model, _, _ in runs)
    untrained = architectures.build("llava-next-mistral", WORLD, recipe.seed, **SIZES)[0].state_dict()
    assert all(torch.equal(first[key], repeated[key]) for key in first)
    changed = {key for key in first if not torch.equal(first[key], untrained[key])}
    assert any("vision_tower" in key for key in changed)
    assert any("mlp.gate_proj" in key for key in changed)
    assert runs[0][2] == runs[1][2]
    assert runs[0][2]["steps"] == 6
    assert torch.get_num_threads() == threads


def test_a_model_that_learns_nothing_is_an_error_that_says_how_far_it_came():
    recipe = Recipe.of(vars(TINY) | {"attempts": 2, "min_accuracy": 1.0})
    lines = []
    reporter = Reporter(log=lines.append)
    with pytest.raises(ModelError, match=r"qwen2.5-vl: training reached \d+.\d % on dev questions in 2 attempts"):
        training.train("qwen2.5-vl", WORLD, recipe, reporter=reporter, **SIZES)
    assert [line for line in lines if "attempt" in line] == [
        "qwen2.5-vl: attempt 1, seed 0",
        "qwen2.5-vl: attempt 2, seed 1000",
    ]


def test_dev_accuracy_counts_right_answers():
    """A stand-in that always says A is right where A is: about one time in three."""
    _, processor = architectures.build("llava-next-mistral", WORLD, **SIZES)
    letter = processor.tokenizer.convert_tokens_to_ids("A")
    score = torch.nn.functional.one_hot(torch.tensor(letter), len(processor.tokenizer)).float()

    class Stub:
        def __call__(self, input_ids, logits_to_keep, **_):
            return type("Output", (), {"logits": score.expand(len(input_ids), logits_to_keep, -1)})

    accuracy = training.dev_accuracy(
        Stub(), processor, WORLD, Recipe(dev_images_per_fact=6), prompts.INSTRUCTION, prompt_seed=1
    )
    assert 0.15 < accuracy < 0.5
