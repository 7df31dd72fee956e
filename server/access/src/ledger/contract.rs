//! The contract of a ledger: one rule a test, run over every adapter.
//!
//! Each rule gets two ledgers over the same store, as two nodes or two processes have it. A new adapter is right when one more
//! line at the end of this file passes.

use super::{Clock, Count, Ledger, MemoryLedger, SqliteLedger};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Barrier, task::JoinSet};

/// A store seen through two ledgers, and the hand of their clock.
struct Bench {
    one: Arc<dyn Ledger>,
    two: Arc<dyn Ledger>,
    hand: Arc<AtomicU64>,
    _folder: Option<tempfile::TempDir>,
}

const START_MS: u64 = 1_700_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);
/// How much of strangers' doings is kept here.
const STRANGE_ROWS: u64 = 20;

impl Bench {
    fn clock() -> (Clock, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(START_MS));
        let told = hand.clone();
        (Clock::from_fn(move || told.load(Ordering::SeqCst)), hand)
    }

    async fn memory() -> Self {
        let (clock, hand) = Self::clock();
        let mut ledger = MemoryLedger::with_clock(clock);
        ledger.strange_rows = STRANGE_ROWS;
        let one: Arc<dyn Ledger> = Arc::new(ledger);
        Self { two: one.clone(), one, hand, _folder: None }
    }

    async fn sqlite() -> Self {
        let (clock, hand) = Self::clock();
        let folder = tempfile::tempdir().unwrap();
        let open = async || {
            let pools = lockgate_users::sqlite::connect(&folder.path().join("lockgate.db")).await.unwrap();
            let mut ledger = SqliteLedger::within(pools, clock.clone()).await.unwrap();
            ledger.strange_rows = STRANGE_ROWS;
            Arc::new(ledger) as Arc<dyn Ledger>
        };
        let (one, two) = (open().await, open().await);
        Self { one, two, hand, _folder: Some(folder) }
    }

    fn pass(&self, ms: u64) {
        self.hand.fetch_add(ms, Ordering::SeqCst);
    }

    /// Lets 64 tasks, half on each ledger, do the same at the same moment.
    async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        act: impl Fn(Arc<dyn Ledger>) -> F,
    ) -> Vec<T> {
        let (start, mut racers) = (Arc::new(Barrier::new(64)), JoinSet::new());
        for racer in 0..64 {
            let ledger = if racer % 2 == 0 { &self.one } else { &self.two };
            let (start, run) = (start.clone(), act(ledger.clone()));
            racers.spawn(async move {
                start.wait().await;
                run.await
            });
        }
        racers.join_all().await
    }
}

async fn of_64_that_use_one_key_at_once_exactly_one_wins(bench: Bench) {
    for round in 0..10 {
        let wins =
            bench.race(|ledger| async move { ledger.use_once(&format!("code/{round}"), MINUTE).await.unwrap() }).await;
        assert_eq!(wins.into_iter().filter(|won| *won).count(), 1, "round {round}");
    }
}

async fn a_used_key_stays_used_until_its_time_has_passed(bench: Bench) {
    assert!(bench.one.use_once("code/a", MINUTE).await.unwrap());
    bench.pass(59_999);
    assert!(!bench.two.use_once("code/a", MINUTE).await.unwrap());
    assert!(bench.two.use_once("code/b", MINUTE).await.unwrap(), "another key is another thing");
    bench.pass(1);
    assert!(bench.two.use_once("code/a", MINUTE).await.unwrap());
    assert!(!bench.one.use_once("code/a", MINUTE).await.unwrap());
}

async fn a_refused_use_does_not_lengthen_the_time(bench: Bench) {
    assert!(bench.one.use_once("code/a", MINUTE).await.unwrap());
    bench.pass(30_000);
    assert!(!bench.one.use_once("code/a", MINUTE * 60).await.unwrap());
    bench.pass(30_000);
    assert!(bench.one.use_once("code/a", MINUTE).await.unwrap());
}

async fn of_64_that_take_one_value_at_once_exactly_one_gets_it(bench: Bench) {
    for round in 0..10 {
        let key = format!("challenge/{round}");
        bench.one.put(&key, b"state", MINUTE).await.unwrap();
        let taken = bench
            .race(|ledger| {
                let key = key.clone();
                async move { ledger.take(&key).await.unwrap() }
            })
            .await;
        assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [b"state"], "round {round}");
    }
}

async fn of_64_that_raise_one_mark_at_once_each_number_wins_once(bench: Bench) {
    for round in 0..10 {
        let key = format!("step/{round}");
        let same = bench
            .race(|ledger| {
                let key = key.clone();
                async move { ledger.raise(&key, 7, MINUTE).await.unwrap() }
            })
            .await;
        assert_eq!(same.into_iter().filter(|won| *won).count(), 1, "round {round}");
    }
    let next = Arc::new(AtomicU64::new(1));
    let won = bench
        .race(|ledger| {
            let n = next.fetch_add(1, Ordering::SeqCst);
            async move { ledger.raise("step/a", n, MINUTE).await.unwrap().then_some(n) }
        })
        .await;
    assert_eq!(won.into_iter().flatten().max(), Some(64), "the highest always wins");
    assert!(!bench.one.raise("step/a", 64, MINUTE).await.unwrap());
}

async fn a_mark_rises_and_never_sinks_within_its_time(bench: Bench) {
    assert!(bench.one.raise("step/a", 10, MINUTE).await.unwrap());
    bench.pass(30_000);
    for lower in [10, 9, 0] {
        assert!(!bench.two.raise("step/a", lower, MINUTE).await.unwrap(), "{lower}");
    }
    assert!(bench.two.raise("step/b", 0, MINUTE).await.unwrap(), "another key is another mark");
    assert!(bench.two.raise("step/a", 11, MINUTE).await.unwrap());
    bench.pass(59_999);
    assert!(!bench.one.raise("step/a", 11, MINUTE).await.unwrap());
    bench.pass(1);
    assert!(bench.one.raise("step/a", 3, MINUTE).await.unwrap());
    bench.one.remove("step/a").await.unwrap();
    assert!(bench.two.raise("step/a", 1, MINUTE).await.unwrap());
    assert!(bench.one.raise("step/a", u64::MAX, MINUTE).await.is_err());
    assert!(bench.one.raise("step/a", i64::MAX as u64, MINUTE).await.unwrap());
}

async fn of_what_strangers_cause_the_oldest_are_dropped_and_of_nothing_else(bench: Bench) {
    let day = MINUTE * 1440;
    for n in 0..30 {
        bench.one.bump(&format!("password/nobody{n}/192.0.2.1"), day).await.unwrap();
        bench.one.put(&format!("paused/nobody{n}"), b"", day).await.unwrap();
        for key in ["codes", "used", "sent"] {
            bench.one.bump(&format!("{key}/{n}"), day).await.unwrap();
        }
        assert!(bench.one.use_once(&format!("used/{n}"), day).await.unwrap());
        assert!(bench.one.raise(&format!("used/{n}"), 1, day).await.unwrap());
        bench.one.put(&format!("ban/{n:02}"), b"", day).await.unwrap();
        bench.pass(10);
    }
    // The oldest of all, and failing still.
    bench.one.bump("password/nobody0/192.0.2.1", day).await.unwrap();
    bench.two.sweep().await.unwrap();
    let mut kept = Vec::new();
    for n in 0..30 {
        if bench.two.count(&format!("password/nobody{n}/192.0.2.1")).await.unwrap().n > 0 {
            kept.push(n);
        }
        for key in ["codes", "used", "sent"] {
            assert_eq!(bench.two.count(&format!("{key}/{n}")).await.unwrap().n, 1);
        }
        assert!(!bench.two.use_once(&format!("used/{n}"), day).await.unwrap());
        assert!(!bench.two.raise(&format!("used/{n}"), 1, day).await.unwrap());
    }
    assert_eq!(kept, std::iter::once(0).chain(11..30).collect::<Vec<_>>());
    assert_eq!(bench.two.list("paused/", 100).await.unwrap().len(), 20);
    assert_eq!(bench.two.list("ban/", 100).await.unwrap().len(), 30);
}

async fn no_bump_of_many_at_once_is_lost_or_counted_twice(bench: Bench) {
    let sliding = bench.race(|ledger| async move { ledger.bump("wrong/a", MINUTE).await.unwrap().n }).await;
    assert_eq!(sliding.into_iter().collect::<BTreeSet<_>>(), (1..=64).collect());
    let fixed = bench.race(|ledger| async move { ledger.bump_fixed("sent/a", MINUTE).await.unwrap() }).await;
    assert_eq!(fixed.into_iter().collect::<BTreeSet<_>>(), (1..=64).collect());
}

async fn a_counter_forgets_itself_a_window_after_its_last_bump(bench: Bench) {
    assert_eq!(bench.one.bump("wrong/a", MINUTE).await.unwrap(), Count { n: 1, previous_ms: 0 });
    bench.pass(50_000);
    assert_eq!(bench.two.bump("wrong/a", MINUTE).await.unwrap(), Count { n: 2, previous_ms: START_MS });
    bench.pass(50_000);
    assert_eq!(bench.one.bump("wrong/a", MINUTE).await.unwrap(), Count { n: 3, previous_ms: START_MS + 50_000 });
    bench.pass(60_000);
    assert_eq!(bench.one.count("wrong/a").await.unwrap(), Count { n: 0, previous_ms: 0 });
    assert_eq!(bench.one.bump("wrong/a", MINUTE).await.unwrap(), Count { n: 1, previous_ms: 0 });
}

async fn a_fixed_window_ends_when_it_ends_however_often_it_is_bumped(bench: Bench) {
    for n in 1..=5 {
        assert_eq!(bench.one.bump_fixed("sent/a", MINUTE).await.unwrap(), n);
        bench.pass(11_999);
    }
    bench.pass(4);
    assert_eq!(bench.two.bump_fixed("sent/a", MINUTE).await.unwrap(), 6, "one ms is left of the window");
    bench.pass(1);
    assert_eq!(bench.two.bump_fixed("sent/a", MINUTE).await.unwrap(), 1);
}

async fn looking_at_a_counter_changes_nothing(bench: Bench) {
    bench.one.bump("wrong/a", MINUTE).await.unwrap();
    for _ in 0..3 {
        bench.pass(10_000);
        assert_eq!(bench.two.count("wrong/a").await.unwrap(), Count { n: 1, previous_ms: START_MS });
    }
    assert_eq!(bench.two.count("wrong/b").await.unwrap(), Count { n: 0, previous_ms: 0 });
}

async fn a_value_lives_for_its_time_and_the_latest_counts(bench: Bench) {
    assert_eq!(bench.one.get("grant/a").await.unwrap(), None);
    bench.one.put("grant/a", b"older", MINUTE).await.unwrap();
    bench.pass(30_000);
    bench.two.put("grant/a", &[0, 255, 0], MINUTE).await.unwrap();
    bench.pass(59_999);
    assert_eq!(bench.one.get("grant/a").await.unwrap().as_deref(), Some(&[0, 255, 0][..]));
    assert_eq!(bench.one.get("grant/a").await.unwrap().as_deref(), Some(&[0, 255, 0][..]), "looking does not take");
    bench.pass(1);
    assert_eq!(bench.one.get("grant/a").await.unwrap(), None);
    assert_eq!(bench.one.take("grant/a").await.unwrap(), None);
}

async fn an_empty_value_is_a_value(bench: Bench) {
    bench.one.put("ban/a", b"", MINUTE).await.unwrap();
    assert_eq!(bench.two.get("ban/a").await.unwrap(), Some(Vec::new()));
    assert_eq!(bench.two.take("ban/a").await.unwrap(), Some(Vec::new()));
    assert_eq!(bench.one.take("ban/a").await.unwrap(), None);
}

async fn a_mark_a_counter_and_a_value_of_one_key_are_three_things_and_go_together(bench: Bench) {
    assert!(bench.one.use_once("a", MINUTE).await.unwrap());
    assert_eq!(bench.one.bump("a", MINUTE).await.unwrap().n, 1);
    bench.one.put("a", b"v", MINUTE).await.unwrap();
    assert!(!bench.one.use_once("a", MINUTE).await.unwrap());
    assert!(bench.one.use_once("ab", MINUTE).await.unwrap());

    bench.two.remove("a").await.unwrap();
    assert!(bench.one.use_once("a", MINUTE).await.unwrap());
    assert_eq!(bench.one.bump("a", MINUTE).await.unwrap(), Count { n: 1, previous_ms: 0 });
    assert_eq!(bench.one.get("a").await.unwrap(), None);
    assert!(!bench.one.use_once("ab", MINUTE).await.unwrap(), "a longer key is another key");
}

async fn living_values_are_listed_by_key_below_their_prefix_only(bench: Bench) {
    for key in ["ban/2", "ban/1", "ban/3", "band/1", "ba", "ban0", "ban/%", "ban/_"] {
        bench.one.put(key, key.as_bytes(), MINUTE).await.unwrap();
    }
    bench.one.bump("ban/4", MINUTE).await.unwrap();
    bench.one.use_once("ban/5", MINUTE).await.unwrap();
    bench.one.put("ban/0", b"", MINUTE / 2).await.unwrap();
    bench.pass(30_000);

    let all = bench.two.list("ban/", 100).await.unwrap();
    assert_eq!(
        all.iter().map(|(key, ..)| key.as_str()).collect::<Vec<_>>(),
        ["ban/%", "ban/1", "ban/2", "ban/3", "ban/_"]
    );
    assert_eq!(all[1], ("ban/1".to_owned(), b"ban/1".to_vec(), START_MS + 60_000));
    assert_eq!(bench.two.list("ban/", 2).await.unwrap().len(), 2);
    assert_eq!(bench.two.list("", 100).await.unwrap().len(), 8);
    assert!(bench.two.list("none/", 100).await.unwrap().is_empty());
}

async fn a_sweep_drops_what_has_passed_and_nothing_that_counts(bench: Bench) {
    for life in [MINUTE, MINUTE * 3] {
        let key = format!("{}", life.as_secs());
        assert!(bench.one.use_once(&key, life).await.unwrap());
        bench.one.bump(&key, life).await.unwrap();
        bench.one.put(&key, b"v", life).await.unwrap();
    }
    bench.pass(120_000);
    bench.two.sweep().await.unwrap();
    assert!(bench.one.use_once("60", MINUTE).await.unwrap());
    assert!(!bench.one.use_once("180", MINUTE).await.unwrap());
    assert_eq!((bench.one.count("60").await.unwrap().n, bench.one.count("180").await.unwrap().n), (0, 1));
    assert_eq!((bench.one.get("60").await.unwrap(), bench.one.get("180").await.unwrap()), (None, Some(b"v".to_vec())));
}

async fn what_is_no_key_or_too_long_a_value_is_refused(bench: Bench) {
    for key in ["", "a\0b", "a\nb", "caf\u{e9}", &"a".repeat(513)] {
        assert!(bench.one.use_once(key, MINUTE).await.is_err(), "{key:?}");
        assert!(bench.one.bump(key, MINUTE).await.is_err() && bench.one.bump_fixed(key, MINUTE).await.is_err());
        assert!(bench.one.put(key, b"", MINUTE).await.is_err() && bench.one.take(key).await.is_err());
        assert!(
            bench.one.get(key).await.is_err()
                && bench.one.count(key).await.is_err()
                && bench.one.remove(key).await.is_err()
        );
    }
    assert!(bench.one.put("a", &[0; 65_537], MINUTE).await.is_err());
    assert!(bench.one.put(&"a".repeat(512), &[0; 65_536], MINUTE).await.is_ok());
}

async fn no_time_to_live_is_too_short_or_too_long(bench: Bench) {
    assert!(bench.one.use_once("short", Duration::ZERO).await.unwrap());
    assert!(!bench.two.use_once("short", Duration::ZERO).await.unwrap(), "within the same millisecond it is used");
    assert!(bench.one.use_once("long", Duration::MAX).await.unwrap());
    bench.pass(u64::from(u32::MAX) * 1000);
    assert!(!bench.two.use_once("long", Duration::MAX).await.unwrap());
}

macro_rules! contract {
    ($adapter:ident: $($rule:ident),* $(,)?) => {
        mod $adapter {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $rule() {
                    super::$rule(super::Bench::$adapter().await).await;
                }
            )*
        }
    };
    ($($adapter:ident),*) => {
        $(contract! {
            $adapter:
            of_64_that_use_one_key_at_once_exactly_one_wins,
            a_used_key_stays_used_until_its_time_has_passed,
            a_refused_use_does_not_lengthen_the_time,
            of_64_that_take_one_value_at_once_exactly_one_gets_it,
            of_64_that_raise_one_mark_at_once_each_number_wins_once,
            a_mark_rises_and_never_sinks_within_its_time,
            of_what_strangers_cause_the_oldest_are_dropped_and_of_nothing_else,
            no_bump_of_many_at_once_is_lost_or_counted_twice,
            a_counter_forgets_itself_a_window_after_its_last_bump,
            a_fixed_window_ends_when_it_ends_however_often_it_is_bumped,
            looking_at_a_counter_changes_nothing,
            a_value_lives_for_its_time_and_the_latest_counts,
            an_empty_value_is_a_value,
            a_mark_a_counter_and_a_value_of_one_key_are_three_things_and_go_together,
            living_values_are_listed_by_key_below_their_prefix_only,
            a_sweep_drops_what_has_passed_and_nothing_that_counts,
            what_is_no_key_or_too_long_a_value_is_refused,
            no_time_to_live_is_too_short_or_too_long,
        })*
    };
}

contract!(memory, sqlite);
