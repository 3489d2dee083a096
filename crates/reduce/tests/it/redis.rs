//! Workers that meet at a real Redis server.

use std::time::Duration;

use burn::backend::Flex;
use kasmina_oona::doubles::RedisServer;
use kasmina_reduce::{
    Linked, Place, Reduce,
    conformance::{Order, PATIENCE, gives_up_for_all, keeps_its_promises, refuses_what_does_not_go_together},
    redis_link::RedisLink,
};

fn group(server: &RedisServer, stream: &str, workers: usize, timeout: Duration) -> Vec<Linked<RedisLink>> {
    let join = |rank| RedisLink::join(&server.address(), stream, Place { rank, workers }, timeout).unwrap();
    (0..workers).map(|rank| Linked::new(join(rank))).collect()
}

#[test]
fn promises_are_kept() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let next = std::cell::Cell::new(0);
    let stream = || {
        next.set(next.get() + 1);
        format!("reduce.{}", next.get())
    };
    keeps_its_promises::<Flex, _>(Order::ByRank, |workers| group(&server, &stream(), workers, PATIENCE));
    refuses_what_does_not_go_together::<Flex, _>(|workers| group(&server, &stream(), workers, PATIENCE));
    gives_up_for_all::<Flex, _>(group(&server, &stream(), 2, Duration::from_millis(1)));
}

#[test]
fn server_that_is_gone_is_an_error_and_one_that_is_back_is_used_again() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let mut worker = group(&server, "reduce.gone", 1, PATIENCE).remove(0);
    assert!(Reduce::<Flex>::gather(&mut worker, vec![1]).is_ok());
    server.kill();
    assert_eq!(Reduce::<Flex>::gather(&mut worker, vec![2]).unwrap_err().reason(), "link_failed");
    server.restart();
    assert_eq!(Reduce::<Flex>::gather(&mut worker, vec![3]), Ok(vec![vec![3]]));
}

#[test]
fn entries_that_no_worker_wrote_are_passed_over() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let mut connection = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
    for fields in [["exchange", "x", "worker", "0", "sent", "1"], ["a", "0", "worker", "0", "sent", "1"]] {
        redis::cmd("XADD").arg("reduce.dirty").arg("*").arg(&fields).exec(&mut connection).unwrap();
    }
    redis::cmd("XADD").arg("reduce.dirty").arg("*").arg("one").arg("two").exec(&mut connection).unwrap();
    let mut worker = group(&server, "reduce.dirty", 1, PATIENCE).remove(0);
    assert_eq!(Reduce::<Flex>::gather(&mut worker, vec![7]), Ok(vec![vec![7]]));
}

#[test]
fn worker_that_was_away_for_many_exchanges_finds_the_others_again() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let mut workers = group(&server, "reduce.away", 2, Duration::from_millis(20)).into_iter();
    let (mut one, mut away) = (workers.next().unwrap(), workers.next().unwrap());
    let gather = |worker: &mut Linked<RedisLink>| Reduce::<Flex>::gather(worker, vec![7]);
    for _ in 0..30 {
        assert_eq!(gather(&mut one).unwrap_err().reason(), "workers_missing");
    }
    // This worker does not try each of the exchanges that the other has given up.
    assert_eq!(gather(&mut away).unwrap_err().reason(), "exchange_given_up");
    let mut one = Some(one);
    let met = std::thread::scope(|scope| {
        let patient = one.take().map(|mut one| scope.spawn(move || (0..500).any(|_| gather(&mut one).is_ok())));
        let other = (0..10).any(|_| gather(&mut away).is_ok());
        patient.unwrap().join().unwrap() && other
    });
    assert!(met, "both come to one exchange again");
}
