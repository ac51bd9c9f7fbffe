"""Every rule of the domain has a test, and docs/domain-coverage.md says which."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.domain_coverage import ROOT, rules_of


def test_the_page_is_current_and_no_rule_is_empty() -> None:
    script = Path("scripts") / "domain_coverage.py"
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("test", "rules"),
    [
        ("f.py::test_v6_a_device_stays", {"V6"}),
        ("f.py::test_c1_c2_c3_example", {"C1", "C2", "C3"}),
        ("f.py::test_7_1_eligibility[E13 in expiry grace]", {"7.1", "E13"}),
        ("f.py::test_check[check 1: E20 count is text]", {"check 1", "E20"}),
        ("f.py::test_invariants_3_4_5_7_hold", {f"invariant {n}" for n in (3, 4, 5, 7)}),
        ("f.py::test_invariant_10_no_output", {"invariant 10"}),
        ("f.py::test_invariant_1_and_2_any_order", {"invariant 1", "invariant 2"}),
        ("f.py::test_example_6_2_v4_monthly", {"example 6.2", "V4"}),
        ("f.py::test_example_3_t2_slots[2031-03-08T14:14:59.999+00:00]", {"example 3", "T2"}),
        ("f.py::test_8_2_device_refused_once_a_day", {"8.2", "8.2 device_refused"}),
        ("f.py::test_breach[8.2 clock_skew]", {"8.2", "8.2 clock_skew"}),
        ("f.py::test_code_120_used_up", {"code 120"}),
        ("f.py::test_all[code 151]", {"code 151"}),
        ("f.py::test_480_slots_a_day_of_e", set()),
    ],
)
def test_rules_are_read_from_names(test: str, rules: set[str]) -> None:
    assert set(rules_of(test)) == rules
