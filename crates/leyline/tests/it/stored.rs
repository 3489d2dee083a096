//! Identifiers and times survive being stored, and a stored text that is not an identifier is refused.

use kasmina_leyline::{SeedId, UnixTime, v1::SeedLifecycleStage};

#[test]
fn identifiers_times_and_enums_come_back_from_storage() {
    let stored = (SeedId::new("seed-1").unwrap(), UnixTime::from_nanos(-1), SeedLifecycleStage::SeedStageBlending);
    let text = serde_json::to_string(&stored).unwrap();
    assert_eq!(text, r#"["seed-1",-1,"SeedStageBlending"]"#);
    assert_eq!(serde_json::from_str::<(SeedId, UnixTime, SeedLifecycleStage)>(&text).unwrap(), stored);
}

#[test]
fn stored_text_that_is_not_an_identifier_is_refused() {
    for text in ["\"\"", "\"two words\"", "7"] {
        assert!(serde_json::from_str::<SeedId>(text).is_err(), "{text}");
    }
}
