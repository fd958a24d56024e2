"""Which questions a run has, and where they lie."""

from tests.workflow.conftest import run

DEMO, PAPER = run(), run("config/paper-vlm.yaml")


def test_image_controls_are_of_all_data_sets_with_images():
    columns = {"sample_id": "id", "question": "q", "options": "o", "label": "l"}
    words = {"type": "table", "path": "a.csv", "columns": columns}
    pictures = words | {"columns": columns | {"image": "i"}, "images": "path"}
    sets = {"cards": {"source": pictures}, "words": {"source": words}, "none": {"source": words | {"images": "none"}},
            "facts": {"source": {"type": "facts"}}, "world": {"source": {"type": "synthetic"}}}  # fmt: skip
    evaluation, evidence = {"sets": sets}, {"image_controls": ["blank", "swapped"]}
    one = run(evaluation=evaluation, evidence=evidence)
    assert one.with_images == ["", "sets/cards/", "sets/world/"]
    assert one.controlled_answers == [
        f"results/demo/{model}/{of}controls/{control}.parquet"
        for model in ("demo-llava-mistral", "planted-control")
        for of in one.with_images
        for control in ("blank", "swapped")
    ]
    assert set(one.controlled_answers) <= set(one.recorded_files)
    assert one.amount_of_work["with_images"] == ["", "cards", "world"]
    # Where the run's own questions are words, further ones may have images.
    text = run("config/real.yaml", evaluation=evaluation, evidence=evidence)
    assert text.with_images == ["sets/cards/", "sets/world/"]
    assert all("/sets/" in path for path in text.controlled_answers)
    assert run("config/real.yaml", evidence=evidence).controlled_answers == []
    assert run(evaluation=evaluation, evidence={}).controlled_answers == []
    assert PAPER.with_images == DEMO.with_images == [""]


def test_words_are_read_by_one_thread():
    assert [run("config/real.yaml").prepare_threads(of) for of in ("", "mentions/", "sets/recall/")] == [1, 1, 1]
    assert DEMO.prepare_threads("") == 2
    assert PAPER.prepare_threads("") == 2
