//! What a policy reads.

use std::{sync::Arc, time::Duration};

use kasmina_dispatch::{BusSink, FieldReportSink, News, NewsReader, Read};
use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{Bus, BusSettings, Message, Subscription};
use kasmina_telemetry::Sink;
use prost::Message as _;

use crate::world::{Local, critical, packet, report, reported};

fn subscription() -> Subscription {
    NewsReader::subscription("tamiyo", "tamiyo-1")
}

fn read(reader: &mut NewsReader) -> (Read, Vec<News>) {
    let mut news = Vec::new();
    (reader.read(1_000, |told| news.push(told)).unwrap(), news)
}

#[test]
fn packets_and_reports_are_read_once_each() {
    let local = Local::new(BusSettings::default());
    let mut reader = NewsReader::new(local.broker.join(subscription()).unwrap());
    let packet = packet(1, &[critical(), reported()]);
    let publisher = Arc::new(local.broker.publisher());
    let (mut telemetry, mut reports) =
        (BusSink::new(Arc::clone(&publisher)), FieldReportSink::new(Arc::clone(&publisher)));
    for _ in 0..2 {
        telemetry.deliver(&packet).unwrap();
        reports.deliver(&packet).unwrap();
    }
    let (counts, news) = read(&mut reader);
    assert_eq!((counts.news, counts.repeated), (2, 2));
    assert_eq!(news, [News::Telemetry((*packet).clone()), News::Report(report())]);
    assert_eq!(reader.bus().status().counts.acknowledged, 4);
}

#[test]
fn what_is_not_news_is_counted_and_acknowledged() {
    let local = Local::new(BusSettings::default());
    let mut reader = NewsReader::new(local.broker.join(subscription()).unwrap());
    let publisher = local.broker.publisher();
    publisher.publish(Message::new(BusMessageType::AdaptationCommand, *b"a command")).unwrap();
    publisher.publish(Message::new(BusMessageType::Telemetry, *b"\xff")).unwrap();
    publisher.publish(Message::new(BusMessageType::FieldReport, *b"\xff")).unwrap();
    let (counts, news) = read(&mut reader);
    assert_eq!((counts, news), (Read { malformed: 2, ignored: 1, ..Read::default() }, vec![]));
    assert_eq!(reader.bus().status().counts.acknowledged, 3);
}

#[test]
fn reports_without_an_id_are_all_read() {
    let local = Local::new(BusSettings::default());
    let mut reader = NewsReader::new(local.broker.join(subscription()).unwrap());
    let report = kasmina_leyline::v1::FieldReport { report_id: String::new(), ..report() };
    for _ in 0..2 {
        let message = Message::new(BusMessageType::FieldReport, report.encode_to_vec());
        local.broker.publisher().publish(message).unwrap();
    }
    assert_eq!(read(&mut reader).0.news, 2);
}

#[test]
fn news_are_acknowledged_after_they_were_handled() {
    let local = Local::new(BusSettings::default());
    let bus = Arc::new(local.broker.join(subscription()).unwrap());
    let mut reader = NewsReader::new(Arc::clone(&bus));
    BusSink::new(local.broker.publisher()).deliver(&packet(1, &[critical()])).unwrap();
    reader.read(1_000, |_| assert_eq!(bus.status().counts.acknowledged, 0)).unwrap();
    assert_eq!(bus.status().counts.acknowledged, 1);
}

#[test]
fn news_that_waited_for_hours_are_read() {
    let local = Local::new(NewsReader::settings(BusSettings::default()));
    let mut reader = NewsReader::new(local.broker.join(subscription()).unwrap());
    BusSink::new(local.broker.publisher()).deliver(&packet(1, &[critical()])).unwrap();
    local.clock.advance(Duration::from_secs(3 * 3_600));
    assert_eq!(read(&mut reader).0.news, 1);
}
