//! Tests of what the driver measures, with work whose latency is known.

use super::*;

const STALL: Duration = Duration::from_millis(200);

/// Takes no time, except for one operation.
async fn stalls_at(stalling: u64, number: u64) -> Result<(), String> {
    if number == stalling {
        tokio::time::sleep(STALL).await;
    }
    Ok(())
}

#[test]
fn a_schedule_spreads_operations_evenly() {
    let plan = Plan { rate: Some(200.0), ..Plan::of_count(10, 1) };
    assert_eq!(plan.scheduled(0), Some(Duration::ZERO));
    assert_eq!(plan.scheduled(1), Some(Duration::from_millis(5)));
    assert_eq!(plan.scheduled(400), Some(Duration::from_secs(2)));
    assert_eq!(Plan { rate: None, ..plan }.scheduled(400), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_short_count_uses_no_number_beyond_it_however_many_threads_there_are() {
    for _ in 0..10_000 {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let numbers = seen.clone();
        run(&Plan::of_count(20, 64), move |number| {
            numbers.lock().unwrap().push(number);
            std::future::ready(Ok(()))
        })
        .await;
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn a_time_without_a_schedule_ends_although_it_runs_out_between_two_looks_at_the_clock() {
    let (ended, done) = std::sync::mpsc::channel();
    // A runtime waits for its workers when it is dropped, so a worker that never ends would block it for
    // ever.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for _ in 0..1_000 {
            let length = Length::Duration(Duration::from_micros(50));
            let plan = Plan { length, ..Plan::of_count(0, 1) };
            let measured = runtime.block_on(run(&plan, |_| std::future::ready(Ok(()))));
            ended.send(measured.unstarted).unwrap();
        }
    });
    for _ in 0..1_000 {
        let unstarted = done.recv_timeout(Duration::from_secs(30));
        assert_eq!(unstarted, Ok(0), "without a schedule nothing is late");
    }
}

#[tokio::test]
async fn a_count_is_kept_exactly_and_every_number_comes_once() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let numbers = seen.clone();
    let measured = run(&Plan::of_count(1_000, 7), move |number| {
        numbers.lock().unwrap().push(number);
        std::future::ready(Ok(()))
    })
    .await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
    assert_eq!(
        (measured.count, measured.succeeded(), measured.histogram.len()),
        (1_000, 1_000, 1_000)
    );
    assert_eq!(measured.seconds.iter().map(Histogram::len).sum::<u64>(), 1_000);
}

#[tokio::test]
async fn failures_are_counted_by_reason_and_have_no_latency() {
    let measured = run(&Plan::of_count(100, 4), async |number| match number % 10 {
        0 => Err("zero".to_owned()),
        1 | 2 => Err("few".to_owned()),
        _ => Ok(()),
    })
    .await;
    let errors: Vec<_> = measured.errors.into_iter().collect();
    assert_eq!(errors, [("few".to_owned(), 20), ("zero".to_owned(), 10)]);
    assert_eq!((measured.count, measured.histogram.len()), (100, 70));
}

#[tokio::test]
async fn what_warms_up_is_not_measured() {
    let plan = Plan { warm_up: Duration::from_millis(50), ..Plan::of_count(10, 2) };
    let highest = Arc::new(AtomicU64::new(0));
    let seen = highest.clone();
    let measured = run(&plan, move |number| {
        seen.fetch_max(number, Ordering::Relaxed);
        async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(())
        }
    })
    .await;
    assert_eq!(measured.count, 10);
    assert!(highest.load(Ordering::Relaxed) > 10, "some came before");
}

#[tokio::test]
async fn a_stall_is_felt_by_everything_that_was_due_during_it() {
    // 300 operations at 1000 a second, one at a time; the 50th delays the next 200. Measured from the moment
    // of sending, one latency in 300 would be long, and p90 close to zero.
    let plan = Plan { rate: Some(1_000.0), ..Plan::of_count(300, 1) };
    let measured = run(&plan, |number| stalls_at(50, number)).await;
    assert_eq!(measured.histogram.len(), 300);
    let quantile = |share| measured.histogram.value_at_quantile(share);
    assert!(quantile(0.99) >= 150_000, "p99 is {} us", quantile(0.99));
    assert!(quantile(0.9) >= 100_000, "p90 is {} us", quantile(0.9));
}

#[tokio::test]
async fn what_was_due_and_never_came_is_told() {
    let length = Length::Duration(Duration::from_millis(100));
    let plan = Plan { rate: Some(1_000.0), length, ..Plan::of_count(0, 1) };
    let measured = run(&plan, |number| stalls_at(50, number)).await;
    assert!(measured.unstarted > 0);
    assert_eq!(measured.count + measured.unstarted, 100);
}

#[tokio::test]
async fn without_a_rate_the_time_ends_a_run() {
    let length = Length::Duration(Duration::from_millis(100));
    let plan = Plan { length, ..Plan::of_count(0, 3) };
    let measured = run(&plan, async |_| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    })
    .await;
    assert!((3..=30).contains(&measured.count), "{}", measured.count);
    assert_eq!(measured.unstarted, 0);
}
