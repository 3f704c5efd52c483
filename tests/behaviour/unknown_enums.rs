//! Numbers that are no value of their enum, in every enum field of every request.

use contract::pb::*;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    Value,
};
use tonic::Code;
use tonic_types::StatusExt;

use super::bad_input::{LINES, bytes_on_the_wire, violations};
use super::raw;
use super::support::{log_length, refused, server_with};

/// The ways to every enum field of a message, nested ones included.
fn ways(message: &MessageDescriptor, passed: &[MessageDescriptor]) -> Vec<Vec<FieldDescriptor>> {
    let mut ways = Vec::new();
    for field in message.fields() {
        match field.kind() {
            Kind::Enum(_) => ways.push(vec![field]),
            Kind::Message(inner) if !passed.contains(&inner) => {
                let passed = [passed, std::slice::from_ref(&inner)].concat();
                for rest in self::ways(&inner, &passed) {
                    ways.push([vec![field.clone()], rest].concat());
                }
            }
            _ => {}
        }
    }
    ways
}

/// A message with a number in one of its fields, the second element of it if it is a list, and the path of that field.
fn with_number(
    message: MessageDescriptor,
    way: &[FieldDescriptor],
    number: i32,
) -> (DynamicMessage, String) {
    let mut built = DynamicMessage::new(message);
    let (field, rest) = way.split_first().expect("a way leads somewhere");
    let of_list = |filler: Value, value: Value| {
        if field.is_list() {
            (Value::List(vec![filler, value]), format!("{}[1]", field.name()))
        } else {
            (value, field.name().to_owned())
        }
    };
    let (value, path) = match field.kind() {
        Kind::Message(inner) => {
            let (value, below) = with_number(inner.clone(), rest, number);
            let filler = Value::Message(DynamicMessage::new(inner));
            let (value, path) = of_list(filler, Value::Message(value));
            (value, format!("{path}.{below}"))
        }
        _ => of_list(Value::EnumNumber(0), Value::EnumNumber(number)),
    };
    built.set_field(field, value);
    (built, path)
}

/// The methods of the contract.
fn rpcs(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let services = pool.services().filter(|service| service.package_name() == "tributary.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Values that a request refuses, as only answers have them.
const ANSWERS_ONLY: [(&str, &str); 2] =
    [("CloseDispute", "DISPUTE_STATE_OPEN"), ("ListApprovals", "APPROVAL_STATE_WAIVED")];

#[tokio::test]
async fn every_enum_field_of_every_request_refuses_a_number_that_is_no_value() {
    let (database, server, client) = server_with(&[]).await;
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let mut tried = Vec::new();
    for rpc in rpcs(&pool) {
        for way in ways(&rpc.input(), &[rpc.input()]) {
            for number in [99, -1, i32::MAX] {
                let (message, path) = with_number(rpc.input(), &way, number);
                let call = format!("/tributary.v1.{}/{}", rpc.parent_service().name(), rpc.name());

                let answer =
                    raw::call(client.channel(), &call, client.request(message.encode_to_vec()))
                        .await;

                let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
                let details = status.get_error_details();
                let faults = &details.bad_request().expect("faults").field_violations;
                let faults: Vec<_> = faults.iter().filter(|fault| fault.field == path).collect();
                let [fault] = &*faults else { panic!("{call}: {path} in {status:?}") };
                assert_eq!(fault.reason, "OUT_OF_RANGE", "{call}: {path}");
                let Kind::Enum(values) = way.last().unwrap().kind() else { panic!("{path}") };
                for value in values.values().filter(|value| value.number() != 0) {
                    let named = fault.description.contains(value.name());
                    // What only answers have is no choice.
                    let is_choice = !ANSWERS_ONLY.contains(&(rpc.name(), value.name()));
                    assert_eq!(named, is_choice, "{call}: {path}: {}", fault.description);
                }
                assert!(bytes_on_the_wire(&status) <= 4_096, "{call}: {path}");
                tried.push(path);
            }
        }
    }
    for path in ["program.unknown_code", "program.rewards[1].kind", "kind", "metric", "state"] {
        assert!(tried.iter().any(|tried| tried == path), "{path} was not tried");
    }
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_number_is_named_along_with_all_other_faults() {
    let (database, server, client) = server_with(&[]).await;
    let request = ListJobsRequest { state: 99, page_size: -1, ..Default::default() };

    let answer = client.operators().list_jobs(client.request(request)).await;

    let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    let expected = [("page_size", "INVALID_PAGE_SIZE"), ("state", "OUT_OF_RANGE")];
    assert_eq!(violations(&status), expected.map(|(field, reason)| (field.into(), reason.into())));
    let said = "state: must be JOB_STATE_QUEUED (1), JOB_STATE_RUNNING (2), JOB_STATE_DONE (3) or \
                JOB_STATE_PARKED (4)";
    assert!(status.message().contains(said), "{}", status.message());

    let mut program = client.publish_shipped(LINES).await;
    let before = log_length(&database).await;
    program.unknown_code = 9;
    program.rewards[1].kind = 77;
    program.base_url = "ftp://example.com".into();
    let status = client.publish(program).await.unwrap_err();
    let named: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(named, ["program.base_url", "program.rewards[1].kind", "program.unknown_code"]);
    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}
