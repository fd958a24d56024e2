"""Families with routed experts: answers, sums, tokens of each expert, masks, attributions and texts, against `experts`.

Each has a layer with experts; `afmoe` has dense layers before, and shared experts beside them.
"""

import pytest

from tests.families import checks

# Transformers warns of its own.
pytestmark = pytest.mark.filterwarnings("ignore")
WORKS = dict.fromkeys(checks.ACTIONS, "")
GEMMA4 = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24}
ATTENTION = ["q_proj", "k_proj", "v_proj"]
#: Family -> what its configuration needs, neurons of the widest layer, and the sites of attribution that layers have.
FAMILIES = {
    "mixtral": ({}, "4 of 96", ATTENTION),
    "qwen3_moe": ({}, "4 of 96", ATTENTION),
    "gemma4_text": (GEMMA4, "4 of 96", ATTENTION),
    "afmoe": ({}, "4 of 96", ["gate_proj", "up_proj", *ATTENTION]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_with_experts_works(name, tmp_path):
    more, mlps, sites = FAMILIES[name]
    assert checks.check(name, tmp_path, **more) == {"mlps": mlps, "plain": False, "sites": sites, "text": WORKS}


def test_a_family_with_experts_that_sees_works(tmp_path):
    result = checks.check("qwen3_vl_moe", tmp_path)
    assert result == {"mlps": "4 of 96", "plain": False, "sites": ATTENTION, "text": WORKS, "images": WORKS}
