"""YAML that somebody made to hang, to grow or to fail with a traceback: refused in one line, wherever it is read."""

from pathlib import Path

import pytest

from eval.comparison import forgetting
from t5x_tasks.card import catalog
from t5x_tasks.card import load as card_file
from t5x_tasks.common import located_yaml
from t5x_tasks.common.config_files import parse_override
from t5x_tasks.common.errors import UserError
from train import config as configuration


def bomb(depth: int = 12) -> str:
    """Ten to the power of `depth` values in a few lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


HOSTILE = {
    "a list": bomb() + "\nfields: *a11\nenvironment: *a11\ndata: *a11\nmembers: *a11\n",
    "merged keys": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)),
    "a long text": f"a: &a {'x' * 100_000}\nenvironment: {{y: [{', '.join(['*a'] * 900)}]}}\n",
    "a cycle": "run_dir: r\nenvironment: &a {x: *a}\n",
    "a cycle of lists": "run_dir: r\nenvironment: {x: &a [[*a]]}\n",
    "a cycle of merges": "run_dir: r\nenvironment: &a {<<: *a}\n",
    "many values": "run_dir: r\nenvironment: {x: [" + "1, " * 110_000 + "1]}\n",
    "a number without end": f"run_dir: r\ntrain: {{steps: 0x{'f' * 10_000}}}\n",
    "a number of sixties": f"run_dir: r\ntrain: {{steps: {':'.join(['1'] * 6_000)}}}\n",
    "a float of sixties": f"run_dir: r\ntrain: {{dropout: {':'.join(['1'] * 500)}.5}}\n",
    "a truth value that is none": "run_dir: !!bool x\n",
    "a time that is none": "run_dir: !!timestamp x\n",
    "a number that is none": "run_dir: !!int ''\n",
    "half a character": 'run_dir: "\\ud800"\n',
    "a tag of Python's": "run_dir: !!python/object/apply:os.system ['touch PWNED']\n",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(
    "load",
    [
        lambda path: configuration.load(path, []),
        card_file.load_card,
        lambda path: catalog.load_catalog([path]),
        lambda path: forgetting._config(path.parent),
    ],
    ids=["configuration", "card", "catalog", "report"],
)
def test_a_file_that_expands_or_loops_is_refused_in_one_line(tmp_path: Path, text: str, load) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml(:\d+)?: not valid YAML \(.{10,120}\)$"):
        load(path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "value",
    ["&a [*a]", "{" + bomb(9).replace("\n", ", ") + ", z: *a8}", "1:" * 500 + "1.5", "!!bool x", "0x" + "f" * 9_999],
)
def test_a_value_of_the_command_line_that_expands_or_loops_is_refused(value: str) -> None:
    with pytest.raises(UserError, match=r"^command line: environment: .{1,100} is not a valid YAML value"):
        parse_override(f"environment={value}")


def test_templates_beside_a_card_and_bases_are_read_in_the_same_way(tmp_path: Path, make_card) -> None:
    card = make_card(templates="mine")
    (card.parent / "mine.yaml").write_text("- &a [*a]\n")
    with pytest.raises(UserError, match=r"mine\.yaml:1: not valid YAML \(an alias leads to what it is in\)"):
        card_file.load_card(card)
    (tmp_path / "base.yaml").write_text("environment: &a [*a]\n")
    (tmp_path / "run.yaml").write_text("base: base.yaml\nrun_dir: r\n")
    with pytest.raises(UserError, match=r"base\.yaml:1: not valid YAML"):
        configuration.load(tmp_path / "run.yaml", [])


@pytest.mark.timeout(60)
def test_base_files_that_several_name_are_read_once(tmp_path: Path) -> None:
    for number in range(30):
        below = f"base: [c{number + 1}.yaml, c{number + 1}.yaml]\n" if number < 29 else "train: {steps: 3}\n"
        (tmp_path / f"c{number}.yaml").write_text(below + "run_dir: r\n")
    assert configuration.load(tmp_path / "c0.yaml", []).train.steps == 3


@pytest.mark.timeout(60)
def test_mixtures_of_mixtures_that_come_to_too_many_members_are_refused(tmp_path: Path) -> None:
    for number in range(30):
        members = f"[m{number + 1}, m{number + 1}]" if number < 29 else "[support_chats]"
        (tmp_path / f"m{number}.yaml").write_text(f"name: m{number}\nmembers: {members}\n")
    with pytest.raises(UserError, match=r"m\d+\.yaml: members: come to more than 10,000"):
        catalog.load_catalog([tmp_path]).resolve("m0")


def test_aliases_that_a_person_writes_stay() -> None:
    text = "a: &a {x: 1, y: [1, 2]}\nb: *a\nc: {<<: *a, x: 2}\nd: [*a, *a]\n"
    values, lines = located_yaml.parse(text)
    assert values == {"a": (a := {"x": 1, "y": [1, 2]}), "b": a, "c": a | {"x": 2}, "d": [a, a]} and lines(["c"]) == 3
