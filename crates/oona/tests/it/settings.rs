//! Settings that cannot work.

use std::time::Duration;

use kasmina_oona::{
    BusSettings, EntryKeys, LocalBroker, RedisBus, RedisSettings, SettingsError, Stream, StreamNames, Subscription,
};
use kasmina_safety::doubles::ManualClock;

#[test]
fn streams_need_names_of_their_own() {
    let mut settings = BusSettings::default();
    settings.streams.policy.clear();
    assert_eq!(settings.check(), Err(SettingsError::StreamName { name: String::new() }));
    settings.streams = StreamNames::default();
    settings.streams.emergency = settings.streams.normal.clone();
    assert_eq!(settings.check(), Err(SettingsError::StreamName { name: "oona.normal".into() }));
    settings.streams = StreamNames { dead_letters: "oona.normal".into(), ..StreamNames::default() };
    assert!(LocalBroker::new(settings, ManualClock::default()).is_err());
}

#[test]
fn values_that_cannot_work_are_named() {
    type Change = fn(&mut RedisSettings);
    let changes: [(&str, Change); 9] = [
        ("claim_after", |it| it.bus.claim_after = Duration::ZERO),
        ("claim_after", |it| it.claim_every = Duration::from_secs(21)),
        ("most_deliveries", |it| it.bus.most_deliveries = 0),
        ("emergency_per_minute", |it| it.bus.emergency_per_minute = 4),
        ("queue", |it| it.queue = 0),
        ("queue_bytes", |it| it.queue_bytes = 1_000),
        ("batch", |it| it.batch = 0),
        ("block", |it| it.block = Duration::from_micros(999)),
        ("response_timeout", |it| it.response_timeout = it.block),
    ];
    assert_eq!(RedisSettings::new("redis://localhost").check(), Ok(()));
    for (name, change) in changes {
        let mut settings = RedisSettings::new("redis://localhost");
        change(&mut settings);
        let refused = settings.check();
        assert!(
            matches!(refused, Err(SettingsError::TooSmall { setting, .. }) if setting == name),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn subscriptions_need_a_group_a_consumer_and_a_stream() {
    let cases = [
        ("group", Subscription::new("", "one", [Stream::Normal])),
        ("consumer", Subscription::new("tamiyo", "", [Stream::Normal])),
        ("stream", Subscription::new("tamiyo", "one", [])),
    ];
    for (missing, subscription) in cases {
        assert_eq!(subscription.check(), Err(SettingsError::Subscription { missing }));
        let settings = RedisSettings::new("redis://localhost");
        let bus = RedisBus::start(settings, EntryKeys::default(), Some(subscription), ManualClock::default());
        assert_eq!(bus.err(), Some(SettingsError::Subscription { missing }));
    }
}

#[test]
fn an_address_that_cannot_be_read_is_not_repeated() {
    for address in ["", "http://user:secret@host", "redis://user:secret@host:port", "redis://:secret@h/database"] {
        let bus = RedisBus::start(RedisSettings::new(address), EntryKeys::default(), None, ManualClock::default());
        let error = bus.expect_err(address);
        assert!(matches!(error, SettingsError::Address { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
