"""Which questions a run has, and where they lie."""

from tests.workflow.conftest import choosing, run

CONTROL, PAPER = run(), run("config/paper-vlm.yaml")


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
        f"results/control/{model}/{of}controls/{control}.parquet"
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
    assert PAPER.with_images == CONTROL.with_images == [""]
    # Fine-tuned models are asked words too.
    assert one.asked_again == one.with_images
    tuned = run("config/real-finetuning.yaml")
    assert tuned.asked_again == ["", *(f"sets/{name}/" for name in tuned.sets)] != tuned.with_images


def test_data_sets_that_choose_neurons_are_asked_whole_and_recorded_by_the_rule_of_the_run():
    one = choosing()
    assert one.of("choose") == ["choose/pictures/", "choose/re.c/"]
    whole = {"by": "whole", "half": "identify"}
    assert one.source("choose/pictures/") == (one.config["data"]["source"], {}, whole)
    source, chosen, split = one.source("choose/re.c/")
    assert (source["type"], chosen["cultures"], split) == ("facts", ["Japan", "Italy"], whole)
    assert [one.prepare_threads(of) for of in one.of("choose")] == [2, 1]
    assert [one.samples_folder(of) for of in ("", "choose/re.c/", "tokens/image/")] == ["", "choose/re.c/", ""]
    assert [one.token_rule(of) for of in ("", "choose/re.c/", "tokens/image/")] == ["all", "all", "image"]
    assert one.sources["data: choose: re.c"] == source
    assert one.with_images == [""]  # none of them judges anything, so that none is asked under image controls
    assert run().of("choose") == []


def test_a_selector_reads_the_statistics_of_the_data_set_that_it_chooses_on():
    one = choosing()
    folders = {name: one.choosing_folder(name) for name in one.selectors if one.chosen_on(name)}
    assert folders == {
        "cas-pictures": "choose/pictures/", "lap": "choose/re.c/", "random": "choose/re.c/",
        "random-pictures": "choose/pictures/",
    }  # fmt: skip
    assert one.selectors["cas-pictures"] == {}  # no option of its method


def test_words_are_read_by_one_thread():
    assert [run("config/real.yaml").prepare_threads(of) for of in ("", "mentions/", "sets/recall/")] == [1, 1, 1]
    assert CONTROL.prepare_threads("") == 2
    assert PAPER.prepare_threads("") == 2


def test_what_chooses_neurons_is_compared_with_the_questions_of_the_run():
    assert [choosing().judged_elsewhere(of) for of in ("choose/re.c/", "", "mentions/")] == [[""], [], []]
    assert run("config/real.yaml").judged_elsewhere("sets/recall/") == []
