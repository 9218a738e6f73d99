//! Lines: turns one by one, and nobody held up by who makes no use of one.

use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A ticket whose holder waits.
struct Waiting {
    ticket: Arc<Ticket>,
    woken: Arc<Woken>,
}

impl Waiting {
    fn in_line(line: &Arc<Line>) -> Self {
        let mut waiting = Self { ticket: Ticket::new(Arc::clone(line)), woken: Arc::default() };
        assert!(!waiting.has_turn(), "nothing has come");
        waiting
    }

    fn has_turn(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.ticket.poll_turn(&mut Context::from_waker(&waker)).is_ready()
    }

    fn times_woken(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}

fn crowd(line: &Arc<Line>, count: usize) -> Vec<Waiting> {
    (0..count).map(|_| Waiting::in_line(line)).collect()
}

fn line() -> Arc<Line> {
    Arc::new(Line::new(Clock::start()))
}

fn at(millis: u64) -> Tick {
    Tick::from_elapsed(Duration::from_millis(millis))
}

fn woken(waiting: &[Waiting]) -> Vec<usize> {
    waiting.iter().map(Waiting::times_woken).collect()
}

#[test]
fn what_comes_wakes_nobody_before_its_turn_and_turns_come_one_by_one() {
    let line = line();
    let mut waiting = crowd(&line, 3);
    for one in &waiting {
        one.ticket.stand(at(1));
        one.ticket.stand(at(1));
    }
    assert_eq!(woken(&waiting), [0, 0, 0]);
    assert!(line.call(at(2)));
    assert_eq!(woken(&waiting), [1, 0, 0], "however often something came");
    let turns: Vec<bool> = waiting.iter_mut().map(Waiting::has_turn).collect();
    assert_eq!(turns, [true, false, false]);
    assert!(line.call(at(3)) && line.call(at(4)));
    assert_eq!(woken(&waiting), [1, 1, 1]);
    assert!(!line.call(at(5)), "nobody is left");
}

#[test]
fn a_turn_is_for_once_and_what_comes_after_it_needs_another() {
    let line = line();
    let mut one = Waiting::in_line(&line);
    one.ticket.stand(at(0));
    line.call(at(0));
    one.ticket.stand(at(1));
    assert!(one.has_turn() && !one.has_turn());
    assert!(!line.call(at(2)), "what came while it had a turn was there to be read in it");
    one.ticket.stand(at(3));
    assert!(line.call(at(3)) && one.has_turn());
}

#[test]
fn who_makes_no_use_of_a_turn_keeps_nobody_waiting() {
    let line = line();
    let mut waiting = crowd(&line, 3);
    waiting.iter().for_each(|one| one.ticket.stand(at(0)));
    (0..3).for_each(|_| assert!(line.call(at(1))));
    let last = waiting.last_mut().unwrap();
    assert!(last.has_turn(), "neither of those before it came");
}

#[test]
fn several_are_called_at_once_while_the_first_has_stood_for_long() {
    let line = line();
    let waiting = crowd(&line, 2 * SEVERAL + 2);
    let (early, late) = waiting.split_at(SEVERAL + 1);
    early.iter().for_each(|one| one.ticket.stand(at(0)));
    late.iter().for_each(|one| one.ticket.stand(at(50)));
    let called = |now| {
        line.call(now);
        woken(&waiting).iter().sum::<usize>()
    };
    assert_eq!(called(at(100)), 1);
    assert_eq!(called(at(101)), 1 + SEVERAL);
    assert_eq!(called(at(101)), 2 + SEVERAL, "the rest came later");
}

#[tokio::test]
async fn whoever_stands_is_called_and_others_come_between_any_two() {
    let lines = Lines::new(NonZeroUsize::MIN, Clock::start());
    let (steps, worst) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (ticket, steps) = (lines.ticket(), Arc::clone(&steps));
            ticket.wake_by_ref();
            tokio::spawn(async move {
                poll_fn(|cx| ticket.poll_turn(cx)).await;
                steps.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    let mut last = 0;
    while steps.load(Ordering::Relaxed) < 50 {
        yield_now().await;
        let seen = steps.load(Ordering::Relaxed);
        worst.fetch_max(seen - last, Ordering::Relaxed);
        last = seen;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(worst.load(Ordering::Relaxed), 1);
}
