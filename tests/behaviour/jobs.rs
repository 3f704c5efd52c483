//! Jobs, as operators see them through the API.

use contract::pb::*;
use tonic::Code;

use super::bad_input::at_fault;
use super::support::{refused, server_with};
use testing::Client;

async fn list(
    client: &Client,
    request: ListJobsRequest,
) -> Result<ListJobsResponse, tonic::Status> {
    Ok(client.operators().list_jobs(client.request(request)).await?.into_inner())
}

async fn retry(client: &Client, job_id: &str) -> Result<RetryJobResponse, tonic::Status> {
    let request = RetryJobRequest { job_id: job_id.into() };
    Ok(client.operators().retry_job(client.request(request)).await?.into_inner())
}

#[tokio::test]
async fn operators_list_jobs_page_by_page_and_have_parked_ones_tried_again() {
    let (database, server, client) = server_with(&[]).await;
    // Jobs of a kind that no server knows, so that they do not change.
    sqlx::query(
        "insert into jobs (kind, dedupe_key, payload, state, attempts, last_error, finished_at)
         select 'test', number::text, jsonb_build_object('number', number),
             case number % 3 when 0 then 'parked' when 1 then 'done' else 'queued' end, number,
             case number % 3 when 0 then 'broken' end, case number % 3 when 1 then now() end
         from generate_series(1, 30) as number",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let of_kind = || ListJobsRequest { kind: "test".into(), page_size: 7, ..Default::default() };
    let (mut keys, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let page = list(&client, ListJobsRequest { page_token: token, ..of_kind() }).await.unwrap();
        keys.extend(page.jobs.iter().map(|job| job.dedupe_key.parse::<i32>().unwrap()));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, keys), (5, (1..=30).rev().collect()));

    let parked = ListJobsRequest { state: JobState::Parked.into(), ..of_kind() };
    let parked = list(&client, parked).await.unwrap().jobs;
    let job = &parked[0];
    assert_eq!(parked.len(), 7);
    assert_eq!((&*job.kind, job.state(), &*job.dedupe_key), ("test", JobState::Parked, "30"));
    assert_eq!((job.attempts, &*job.last_error), (30, "broken"));
    assert_eq!(job.payload_json, r#"{"number": 30}"#);
    assert!(job.create_time.is_some());
    assert_eq!((job.next_attempt_time, job.finish_time), (None, None));
    assert!(parked.iter().all(|job| job.unknown_kind));
    let done = ListJobsRequest { state: JobState::Done.into(), ..of_kind() };
    let done = list(&client, done).await.unwrap().jobs;
    assert!(done.iter().all(|job| job.state() == JobState::Done && job.finish_time.is_some()));

    let again = retry(&client, &job.job_id).await.unwrap().job.unwrap();
    assert_eq!((again.state(), again.attempts), (JobState::Queued, 30));
    assert!(again.next_attempt_time.is_some());
    // Parked once more, and retried twice at the same time.
    sqlx::query("update jobs set state = 'parked', attempts = attempts + 1 where id = $1::bigint")
        .bind(&job.job_id)
        .execute(&database.pool)
        .await
        .unwrap();
    let (one, other) = tokio::join!(retry(&client, &job.job_id), retry(&client, &job.job_id));
    assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1, "{one:?} {other:?}");
    let retries: Vec<(String, String, String, i32)> = sqlx::query_as(
        "select aggregate_id, metadata ->> 'actor', metadata ->> 'door', (payload ->> 'attempts')::int
         from events where event_type = 'JobRetried' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let by_admin =
        |attempts| (job.job_id.clone(), "key:admin".to_owned(), "RetryJob".to_owned(), attempts);
    assert_eq!(retries, [by_admin(30), by_admin(31)]);
    for (job, expected) in [(&again, "queued"), (&done[0], "done")] {
        let status = retry(&client, &job.job_id).await;
        let status = refused(status, Code::FailedPrecondition, "JOB_NOT_PARKED");
        let info = tonic_types::StatusExt::get_error_details(&status).error_info().cloned();
        assert_eq!(info.unwrap().metadata["state"], expected);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_server_cleans_once_a_day() {
    let (database, server, client) = server_with(&[]).await;
    let request = ListJobsRequest {
        kind: "clean".into(),
        state: JobState::Done.into(),
        ..Default::default()
    };
    let mut jobs = Vec::new();
    for _ in 0..200 {
        jobs = list(&client, request.clone()).await.unwrap().jobs;
        if !jobs.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].attempts, &*jobs[0].last_error), (1, ""));
    assert!(!jobs[0].unknown_kind);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_bad_list_and_an_unknown_job_are_refused() {
    let (database, server, client) = server_with(&[]).await;
    for (request, field, reason) in [
        (ListJobsRequest { page_size: -1, ..Default::default() }, "page_size", "INVALID_PAGE_SIZE"),
        (
            ListJobsRequest { page_token: "x".into(), ..Default::default() },
            "page_token",
            "INVALID_PAGE_TOKEN",
        ),
        (ListJobsRequest { state: 99, ..Default::default() }, "state", "OUT_OF_RANGE"),
        (ListJobsRequest { kind: "\0".into(), ..Default::default() }, "kind", "NUL_CHARACTER"),
    ] {
        at_fault(list(&client, request).await, field, reason);
    }
    at_fault(retry(&client, "").await, "job_id", "FIELD_REQUIRED");
    let long = "9".repeat(100_000);
    for unknown in ["4711", "-1", "+1", "01", "no number", "\u{1b}[31m", &long] {
        let status = retry(&client, unknown).await;
        let size = status.as_ref().map_or_else(|status| status.details().len(), |_| 0);
        assert!(size < 1_000, "{size}");
        refused(status, Code::NotFound, "JOB_NOT_FOUND");
    }
    let nobody = server.separate_client(None).await;
    let status = list(&nobody, ListJobsRequest::default()).await;
    refused(status, Code::Unauthenticated, "MISSING_CREDENTIALS");
    refused(retry(&nobody, "1").await, Code::Unauthenticated, "MISSING_CREDENTIALS");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_page_of_large_jobs_ends_before_it_is_larger_than_a_message() {
    let (database, server, client) = server_with(&[]).await;
    // 3 MB in 30 jobs, of which a page takes no more than 2 MiB.
    sqlx::query(
        "insert into jobs (kind, dedupe_key, payload)
         select 'test', number::text, jsonb_build_object('of', repeat('x', 100000))
         from generate_series(1, 30) as number",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let request = ListJobsRequest { kind: "test".into(), page_size: 1_000, ..Default::default() };
    let first = list(&client, request.clone()).await.unwrap();
    assert_eq!(first.jobs.len(), 20);
    let next = ListJobsRequest { page_token: first.next_page_token, ..request };
    let second = list(&client, next).await.unwrap();
    assert_eq!((second.jobs.len(), &*second.next_page_token), (10, ""));
    let keys = first.jobs.iter().chain(&second.jobs).map(|job| job.dedupe_key.clone());
    assert!(keys.eq((1..=30).rev().map(|number| number.to_string())));
    server.stop().await;
    database.check().await;
}
