use super::*;

const RIGHT: &str = "\
# Architecture

```text
crates/            the library
  leyline/         the contract
  gates/           the gates
  kasmina/         the facade
    src/
xtask/             the tools
```

| floor | crate | owns | knows | invariant |
|---|---|---|---|---|
| 0 | `leyline` | messages | — | none |
| 2 | `gates` | verdicts | `leyline` | pure |
| 3 | `kasmina` | the facade | `leyline`, `gates` | small |
| 4 | `xtask` | tools | everything | none |

Prose.
";

fn workspace(edges: &[(&str, &[&str])]) -> BTreeMap<String, Facts> {
    let facts =
        |knows: &[&str]| Facts { knows: knows.iter().map(|name| (*name).to_owned()).collect(), linked: Vec::new() };
    edges.iter().map(|(name, knows)| ((*name).to_owned(), facts(knows))).collect()
}

fn right() -> BTreeMap<String, Facts> {
    workspace(&[("leyline", &[]), ("gates", &["leyline"]), ("kasmina", &["leyline", "gates"])])
}

fn judge(text: &str, facts: &BTreeMap<String, Facts>) -> Vec<String> {
    violations(text, facts, |path| path != "crates/ghost")
}

#[track_caller]
fn assert_one(found: &[String], expected: &str) {
    assert!(found.len() == 1 && found[0].contains(expected), "expected one line with {expected:?}, found {found:#?}");
}

#[test]
fn the_right_document_has_no_violation() {
    assert_eq!(judge(RIGHT, &right()), Vec::<String>::new());
}

#[test]
fn the_map_is_read_as_paths() {
    let paths = Document::parse(RIGHT).unwrap().paths;
    let expected = ["crates", "crates/gates", "crates/kasmina", "crates/kasmina/src", "crates/leyline", "xtask"];
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn flat_and_drawn_maps_say_the_same() {
    let table = "| floor | crate | owns | knows | invariant |\n|-|-|-|-|-|\n";
    let flat = format!("```text\ncrates/a   one\ncrates/a/src\nxtask\n```\n{table}");
    let drawn = format!("```text\n./\n├── crates/\n│   └── a/\n│       └── src/  code\n└── xtask/\n```\n{table}");
    let mut flat = Document::parse(&flat).unwrap().paths;
    flat.insert("crates".to_owned());
    assert_eq!(flat, Document::parse(&drawn).unwrap().paths);
}

#[test]
fn other_blocks_are_no_map() {
    let text = format!("```rust\nlet crates = 1;\n```\n\n```text\na --> b\n```\n{RIGHT}");
    assert_eq!(judge(&text, &right()), Vec::<String>::new());
}

#[test]
fn a_crate_that_the_map_lacks() {
    assert_one(&judge(&RIGHT.replace("  gates/           the gates\n", ""), &right()), "the map lacks crates/gates");
}

#[test]
fn the_tools_belong_on_the_map() {
    assert_one(&judge(&RIGHT.replace("xtask/             the tools\n", ""), &right()), "the map lacks xtask");
}

#[test]
fn a_path_that_does_not_exist() {
    let text = RIGHT.replace("  gates/", "  ghost/\n  gates/");
    assert_one(&judge(&text, &right()), "the map lists crates/ghost, which does not exist");
}

#[test]
fn a_document_without_either_part() {
    let found = judge("# Architecture\n", &right());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("```text") && found[1].contains("| floor | crate |"), "{found:?}");
}

#[test]
fn rows_that_cannot_be_read() {
    assert_one(&judge(&RIGHT.replace("| 2 | `gates`", "| two | `gates`"), &right()), "make the floor a number");
    assert_one(&judge(&RIGHT.replace("| `gates` | verdicts", "| gates | verdicts"), &right()), "in backticks");
    assert_one(&judge(&RIGHT.replace("| verdicts |", "|"), &right()), "line 15: make it 5 cells, not 4");
}

#[test]
fn a_crate_that_the_table_lacks() {
    let text = RIGHT.replace("| 2 | `gates` | verdicts | `leyline` | pure |\n", "");
    assert_one(&judge(&text, &right()), "the table lacks `gates`");
}

#[test]
fn a_crate_that_is_not_there_or_there_twice() {
    let ghost = RIGHT.replace("| 4 |", "| 2 | `ghost` | - | - | - |\n| 4 |");
    assert_one(&judge(&ghost, &right()), "there is no crates/ghost");
    let twice = RIGHT.replace("| 4 |", "| 0 | `leyline` | - | - | - |\n| 4 |");
    assert_one(&judge(&twice, &right()), "lists `leyline` twice");
}

#[test]
fn knowledge_that_differs() {
    let silent = RIGHT.replace("| verdicts | `leyline` |", "| verdicts | — |");
    assert_one(&judge(&silent, &right()), "`gates` depends on `leyline`: add it");
    let boasting = RIGHT.replace("| messages | — |", "| messages | `gates` |");
    assert_one(&judge(&boasting, &right()), "`leyline` does not depend on `gates`: drop it");
}

#[test]
fn dependencies_go_down() {
    let text = RIGHT
        .replace("| messages | — |", "| messages | `gates` |")
        .replace("| verdicts | `leyline` |", "| verdicts | — |");
    let facts = workspace(&[("leyline", &["gates"]), ("gates", &[]), ("kasmina", &["leyline", "gates"])]);
    assert_one(&judge(&text, &facts), "crates/leyline/Cargo.toml: drop `gates` (floor 2) from floor 0");
}

#[test]
fn neighbours_may_know_each_other_only_on_the_upper_floors() {
    assert_eq!(judge(&RIGHT.replace("| 3 |", "| 2 |"), &right()), Vec::<String>::new());
    assert_one(&judge(&RIGHT.replace("| 2 |", "| 0 |"), &right()), "know none of their own floor");
}

#[test]
fn the_lower_floors_link_nothing_heavy() {
    let mut facts = right();
    for name in ["leyline", "gates"] {
        facts.entry(name.to_owned()).or_default().linked = vec!["burn".to_owned(), "serde".to_owned()];
    }
    assert_one(&judge(RIGHT, &facts), "crates/leyline/Cargo.toml: drop what links burn");
}
