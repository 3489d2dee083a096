//! The table of reasons against the source.

use crate::source;

#[test]
fn list() {
    let found = source::scan(&source::workspace());
    for (reason, places) in &found.reasons {
        println!("{reason}\t{}", places.iter().cloned().collect::<Vec<_>>().join(" "));
    }
    println!("UNCLEAR {:#?}", found.unclear);
}
