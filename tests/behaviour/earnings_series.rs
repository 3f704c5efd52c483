//! `GetEarningsSeries`: earnings day by day and week by week, by level and by source.

use contract::parse_program;
use contract::pb::*;
use prost_types::Timestamp;

use super::support::{minor, server_with};
use testing::{Client, TestDatabase, program};

const PROGRAM: &str = "multi-level-commission";

/// Signs up a line of users, each referred by the one before.
async fn line(client: &Client, names: &[&str]) {
    let mut code = String::new();
    for name in names {
        code = client.sign_up(PROGRAM, name, &code).await.unwrap().code;
    }
}

/// Dates what was recorded after a position as if it had been recorded then. Whoever dates must do so from the oldest
/// to the newest, and after [`keep_times`].
async fn date(database: &TestDatabase, after: i64, moment: &str) {
    sqlx::query("update events set recorded_at = $1::timestamptz where position > $2")
        .bind(moment.to_owned())
        .bind(after)
        .execute(&database.pool)
        .await
        .unwrap();
}

async fn keep_times(database: &TestDatabase) {
    sqlx::query("create table kept as select position, recorded_at from events")
        .execute(&database.pool)
        .await
        .unwrap();
}

/// Read models hold the times at which events were recorded, so these are restored before read models are checked.
async fn restore_times(database: &TestDatabase) {
    for statement in [
        "update events set recorded_at = kept.recorded_at from kept where kept.position = events.position",
        "drop table kept",
    ] {
        sqlx::query(statement).execute(&database.pool).await.unwrap();
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as a message has it")]
fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn days(user_id: &str, zone: &str, start: &str, end: &str) -> GetEarningsSeriesRequest {
    GetEarningsSeriesRequest {
        program_id: PROGRAM.into(),
        user_id: user_id.into(),
        start_time: at(start),
        end_time: at(end),
        granularity: SeriesGranularity::Day.into(),
        time_zone: zone.into(),
        ..Default::default()
    }
}

async fn series(client: &Client, request: GetEarningsSeriesRequest) -> GetEarningsSeriesResponse {
    let answer = client.rewards().get_earnings_series(client.request(request)).await.unwrap();
    let answer = answer.into_inner();
    // The lines add up to the periods, and these to the total.
    let totals: Vec<i64> = answer.periods.iter().map(|of| minor(of.total.as_ref())).collect();
    for (index, total) in totals.iter().enumerate() {
        assert_eq!(answer.lines.iter().map(|line| line.minor_units[index]).sum::<i64>(), *total);
    }
    for line in &answer.lines {
        assert_eq!(line.minor_units.iter().sum::<i64>(), minor(line.total.as_ref()));
    }
    assert_eq!(totals.iter().sum::<i64>(), minor(answer.total.as_ref()));
    for (of, next) in answer.periods.iter().zip(answer.periods.iter().skip(1)) {
        assert_eq!(of.end_time, next.start_time);
    }
    answer
}

fn totals(series: &GetEarningsSeriesResponse) -> Vec<(&str, i64)> {
    series.periods.iter().map(|of| (&*of.date, minor(of.total.as_ref()))).collect()
}

fn by_level(series: &GetEarningsSeriesResponse) -> Vec<(Option<i32>, &[i64])> {
    series.lines.iter().map(|line| (line.level, &*line.minor_units)).collect()
}

fn by_source(series: &GetEarningsSeriesResponse) -> Vec<(&str, i64, &[i64])> {
    let lines = series.lines.iter();
    lines.map(|of| (&*of.source_user_id, of.other_source_count, &*of.minor_units)).collect()
}

/// The total of `GetEarnings`, and those of the levels.
async fn earned(client: &Client, user_id: &str) -> (i64, Vec<(i32, i64)>) {
    let message = GetEarningsRequest {
        program_id: PROGRAM.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    let earned = client.rewards().get_earnings(client.request(message)).await.unwrap();
    let earned = earned.into_inner();
    let levels = earned.by_level.iter().map(|of| (of.level, minor(of.total.as_ref())));
    (minor(earned.total.as_ref()), levels.collect())
}

/// Bob earns 5% of what cid buys and 1% of what dan buys, around the end of summer time in Berlin: 2025-10-26 has 25
/// hours there, and is a Sunday. A part of the third purchase is refunded later.
async fn buy_around_the_end_of_summer_time(client: &Client, database: &TestDatabase) {
    line(client, &["ada", "bob", "cid", "dan"]).await;
    let mut ends = Vec::new();
    for (purchase_id, buyer, amount) in [
        ("one", "cid", 100_000),
        ("two", "dan", 100_000),
        ("three", "cid", 200_000),
        ("four", "cid", 100_000),
    ] {
        ends.push(super::support::log_length(database).await);
        client.buy(purchase_id, buyer, "INR", amount).await.unwrap();
    }
    ends.push(super::support::log_length(database).await);
    let message = RefundPurchaseRequest {
        purchase_id: "three".into(),
        refund_id: "refund".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: 100_000 }),
        ..Default::default()
    };
    let refunded = client.purchases().refund_purchase(client.request(message)).await.unwrap();
    let token = refunded.into_inner().consistency_token;
    // The read models have all of it before the times are changed.
    let message = GetEarningsRequest {
        program_id: PROGRAM.into(),
        user_id: "bob".into(),
        consistency_token: token,
        ..Default::default()
    };
    client.rewards().get_earnings(client.request(message)).await.unwrap();
    keep_times(database).await;
    date(database, 0, "2025-10-01 12:00:00Z").await;
    for (end, moment) in ends.into_iter().zip([
        "2025-10-25 21:59:59.999999Z",
        "2025-10-25 22:00:00Z",
        "2025-10-26 22:59:59.999999Z",
        "2025-10-26 23:00:00Z",
        "2025-10-28 12:00:00Z",
    ]) {
        date(database, end, moment).await;
    }
}

#[tokio::test]
async fn days_and_weeks_begin_at_midnight_of_the_time_zone_also_where_clocks_change() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    buy_around_the_end_of_summer_time(&client, &database).await;
    let span = ["2025-10-24T12:00:00Z", "2025-10-29T11:00:00Z"];

    let berlin = series(&client, days("bob", "Europe/Berlin", span[0], span[1])).await;
    assert_eq!(
        totals(&berlin),
        [
            ("2025-10-24", 0),
            ("2025-10-25", 5_000),
            ("2025-10-26", 11_000),
            ("2025-10-27", 5_000),
            ("2025-10-28", -5_000),
            ("2025-10-29", 0),
        ]
    );
    assert_eq!(
        by_level(&berlin),
        [(Some(1), &[0, 5_000, 10_000, 5_000, -5_000, 0][..]), (Some(2), &[0, 0, 1_000, 0, 0, 0])]
    );
    let sunday = &berlin.periods[2];
    assert_eq!(sunday.start_time, at("2025-10-25T22:00:00Z"));
    assert_eq!(sunday.end_time, at("2025-10-26T23:00:00Z"));

    let utc = series(&client, days("bob", "", span[0], span[1])).await;
    let amounts: Vec<i64> = utc.periods.iter().map(|of| minor(of.total.as_ref())).collect();
    assert_eq!(amounts, [0, 6_000, 15_000, 0, -5_000, 0]);

    let weeks = |zone| GetEarningsSeriesRequest {
        granularity: SeriesGranularity::Week.into(),
        ..days("bob", zone, span[0], span[1])
    };
    let berlin = series(&client, weeks("Europe/Berlin")).await;
    assert_eq!(totals(&berlin), [("2025-10-20", 16_000), ("2025-10-27", 0)]);
    assert_eq!(by_level(&berlin), [(Some(1), &[15_000, 0][..]), (Some(2), &[1_000, 0])]);
    let utc = series(&client, weeks("UTC")).await;
    assert_eq!(totals(&utc), [("2025-10-20", 21_000), ("2025-10-27", -5_000)]);

    let sources = GetEarningsSeriesRequest {
        breakdown: SeriesBreakdown::Source.into(),
        ..days("bob", "Europe/Berlin", span[0], span[1])
    };
    let sources = series(&client, sources).await;
    let of_cid = [0, 5_000, 10_000, 5_000, -5_000, 0];
    assert_eq!(by_source(&sources), [("cid", 0, &of_cid[..]), ("dan", 0, &[0, 0, 1_000, 0, 0, 0])]);

    // All that there is adds up to what GetEarnings says, in every form.
    let (total, levels) = earned(&client, "bob").await;
    assert_eq!((total, &*levels), (16_000, &[(1, 15_000), (2, 1_000)][..]));
    for request in [days("bob", "Asia/Kathmandu", span[0], span[1]), weeks("America/New_York")] {
        let all = series(&client, request).await;
        assert_eq!(minor(all.total.as_ref()), total);
        let lines = all.lines.iter();
        let lines: Vec<_> = lines.map(|of| (of.level.unwrap(), minor(of.total.as_ref()))).collect();
        assert_eq!(lines, levels);
    }
    // A span without any events, and one without any periods.
    let nothing = series(&client, days("bob", "", "2025-11-10T00:00:00Z", "2025-11-12T00:00:00Z"));
    assert_eq!(totals(&nothing.await), [("2025-11-10", 0), ("2025-11-11", 0)]);
    let nothing = series(&client, days("bob", "", "2025-11-10T00:00:00Z", "2025-11-10T00:00:00Z"));
    assert_eq!(totals(&nothing.await), []);
    restore_times(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_twenty_largest_sources_have_lines_and_the_others_are_added_up() {
    const FRIENDS: i64 = 23;
    let (database, server, client) = server_with(&[]).await;
    let json = std::fs::read_to_string(program(PROGRAM)).unwrap();
    let mut unlimited = parse_program(&json).unwrap();
    unlimited.max_direct_referrals = None;
    unlimited.rewards.iter_mut().for_each(|rule| rule.cap_minor = None);
    client.publish(unlimited).await.unwrap();
    let code = client.sign_up(PROGRAM, "ada", "").await.unwrap().code;
    let mut token = String::new();
    for number in 1..=FRIENDS {
        let friend = format!("friend-{number}");
        client.sign_up(PROGRAM, &friend, &code).await.unwrap();
        let bought = client.buy("", &friend, "INR", 100_000 * number).await.unwrap();
        token = bought.consistency_token;
    }
    // Without a span, the last period is the present one.
    let request = GetEarningsSeriesRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        breakdown: SeriesBreakdown::Source.into(),
        consistency_token: token,
        ..Default::default()
    };
    let answer = series(&client, request.clone()).await;
    assert_eq!((answer.periods.len(), answer.lines.len()), (30, 21));
    for (line, number) in answer.lines.iter().zip((4..=FRIENDS).rev()) {
        let found = (line.source_user_id.clone(), minor(line.total.as_ref()));
        assert_eq!(found, (format!("friend-{number}"), 5_000 * number));
        assert_eq!(line.other_source_count, 0);
    }
    let rest = &answer.lines[20];
    assert_eq!((&*rest.source_user_id, rest.other_source_count), ("", 3));
    assert_eq!(minor(rest.total.as_ref()), 5_000 * (1 + 2 + 3));
    assert_eq!(minor(answer.total.as_ref()), earned(&client, "ada").await.0);
    // Whoever caused nothing has no line.
    let none = GetEarningsSeriesRequest { user_id: "friend-1".into(), ..request };
    let none = series(&client, none).await;
    assert!(none.lines.is_empty() && minor(none.total.as_ref()) == 0, "{none:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_series_that_is_too_long_and_a_time_zone_that_is_none_are_refused() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for (request, field, fault) in [
        (
            days("ada", "", "2025-01-01T00:00:00Z", "2026-02-06T00:00:00Z"),
            "end_time",
            "INVALID_TIME",
        ),
        (
            days("ada", "", "2025-01-02T00:00:00Z", "2025-01-01T00:00:00Z"),
            "end_time",
            "INVALID_TIME",
        ),
        (
            days("ada", "Berlin", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"),
            "time_zone",
            "INVALID_TIME_ZONE",
        ),
    ] {
        let answer = client.rewards().get_earnings_series(client.request(request)).await;
        super::bad_input::at_fault(answer, field, fault);
    }
    let longest = series(&client, days("ada", "", "2025-01-01T00:00:00Z", "2026-02-05T00:00:00Z"));
    assert_eq!(longest.await.periods.len(), 400);
    server.stop().await;
    database.check().await;
}
