//! The excerpt at the top of the README is from the program below it, which is a documentation test.

const README: &str = include_str!("../../../../README.md");

/// The first block in this language, its lines without comments.
fn block<'a>(language: &'a str) -> impl Iterator<Item = &'static str> + use<'a> {
    let fence = format!("```{language}");
    let after = README.lines().skip_while(move |line| *line != fence).skip(1);
    after.take_while(|line| *line != "```").map(|line| line.split("//").next().unwrap_or_default().trim())
}

#[test]
fn excerpt_of_the_readme_is_from_its_program() {
    let program: Vec<_> = block("rust").collect();
    let excerpt: Vec<_> = block("rs").filter(|line| !line.is_empty()).collect();
    assert!((8..=12).contains(&excerpt.len()), "{excerpt:?}");
    let missing: Vec<_> = excerpt.into_iter().filter(|line| !program.contains(line)).collect();
    assert_eq!(missing, [""; 0]);
}
