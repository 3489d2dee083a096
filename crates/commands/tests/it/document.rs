//! docs/COMMANDS.md holds the table.

use std::{fs, path::Path};

use kasmina_commands::table;

const BEGIN: &str = "<!-- printed from crates/commands/src/table.rs: begin -->\n";
const END: &str = "<!-- end -->\n";

/// With `UPDATE_DOCS=1` in the environment it writes the document instead.
#[test]
fn document_has_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMMANDS.md");
    let document = fs::read_to_string(&path).unwrap();
    let (head, rest) = document.split_once(BEGIN).expect("the document marks where the tables begin");
    let (written, tail) = rest.split_once(END).expect("the document marks where the tables end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, [head, BEGIN, &table::markdown(), END, tail].concat()).unwrap();
        return;
    }
    assert_eq!(written, table::markdown(), "run `UPDATE_DOCS=1 cargo test -p kasmina-commands document`");
}

#[test]
fn table_has_every_command_and_operation_once() {
    use kasmina_leyline::v1::{CommandType, SeedOperation};
    for number in 1.. {
        let Ok(command) = CommandType::try_from(number) else { break };
        assert!(table::TABLE.iter().any(|row| row.command == command), "{command:?}");
    }
    for number in 1.. {
        let Ok(operation) = SeedOperation::try_from(number) else { break };
        assert_eq!(table::TABLE.iter().filter(|row| row.operation == Some(operation)).count(), 1, "{operation:?}");
    }
}
