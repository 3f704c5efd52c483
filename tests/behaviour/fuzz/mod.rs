//! Valid-looking requests to every RPC, by every kind of principal: real ids and codes beside boundary numbers and
//! strange texts. Whatever is asked, no answer is an internal error, the server stays ready, and the log is clean.
//!
//! `TRIBUTARY_FUZZ_CALLS` sets how many calls are made, `TRIBUTARY_FUZZ_SEED` repeats the choices of a run.

mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tributary::access::{Principal, Role};
use tributary::api::services;

use super::principals::{by, in_process, user};
use super::raw;
use super::support::server_with;
use super::views::model::PROGRAMS;
use testing::{ADMIN_KEY, plain_http};
use values::{Known, Random};

/// How many calls the short run makes.
const CALLS: usize = 2_000;
/// How many calls are under way at the same time.
const CALLERS: usize = 8;
/// How many messages of a stream are read at most, and for how long.
const MAX_MESSAGES: usize = 20;
const STREAM_PATIENCE: Duration = Duration::from_millis(50);
/// A call that takes longer than this hangs.
const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// Reads a number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// All RPCs of the contract.
fn rpcs() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let services = pool.services().filter(|service| service.package_name() == "tributary.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// How calls reach the server: over the network with a key, or within the process as somebody.
#[derive(Clone, Debug)]
enum Caller {
    Network(Option<&'static str>),
    Principal(Principal),
}

impl Caller {
    /// Any caller; the admin key more often, because it reaches furthest.
    fn any(random: &mut Random, known: &Known) -> Self {
        match random.below(20) {
            0 => Self::Network(None),
            1 => Self::Network(Some("tributary_wrong_key_0123456789")),
            2 | 3 => Self::Principal(user(&known.user(random))),
            4 | 5 => Self::Principal(Principal::Key {
                id: Some(Arc::from("k_1")),
                role: [Role::Service, Role::Operator][random.below(2)],
                user_id: None,
                limits: None,
            }),
            _ => Self::Network(Some(ADMIN_KEY)),
        }
    }
}

/// Makes a call and returns the first messages of its answer.
async fn call(
    client: &testing::Client,
    routes: &tonic::service::Routes,
    caller: &Caller,
    rpc: &MethodDescriptor,
    message: Vec<u8>,
) -> Result<Vec<Vec<u8>>, Status> {
    let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
    let request = match caller {
        Caller::Principal(principal) => by(principal, message),
        Caller::Network(key) => {
            let mut request = Request::new(message);
            if let Some(key) = key {
                let key = format!("Bearer {key}").parse().unwrap();
                request.metadata_mut().insert("authorization", key);
            }
            request
        }
    };
    let limits = (MAX_MESSAGES, STREAM_PATIENCE);
    let answer = async {
        match caller {
            Caller::Principal(_) => raw::some(routes.clone(), &path, request, limits).await,
            Caller::Network(_) => raw::some(client.channel(), &path, request, limits).await,
        }
    };
    let in_time = tokio::time::timeout(CALL_PATIENCE, answer).await;
    in_time.unwrap_or_else(|_| panic!("{path} hangs"))
}

/// What every answer must be: a result, or an error that is the caller's or passes.
fn judge(rpc: &MethodDescriptor, caller: &Caller, request: &DynamicMessage, status: &Status) {
    let about = || format!("{} by {caller:?}: {status:?}\n{request:?}", rpc.full_name());
    let bad = [Code::Internal, Code::Unknown, Code::DataLoss, Code::Unimplemented];
    assert!(!bad.contains(&status.code()), "{}", about());
    assert!(status.get_details_error_info().is_some(), "an error without a reason: {}", about());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_looking_request_is_an_internal_error_whoever_sends_it() {
    let drawn = u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros());
    let seed = setting("TRIBUTARY_FUZZ_SEED").unwrap_or(drawn);
    let calls = setting("TRIBUTARY_FUZZ_CALLS").map_or(CALLS, |calls| calls.try_into().unwrap());
    println!("seed {seed}, {calls} calls");
    let (database, server, client) = server_with(&PROGRAMS).await;
    let local = in_process(&database).await;
    let routes = services(local.context());
    let rpcs = Arc::new(rpcs());
    let known = Arc::new(Mutex::new(Known::of_shipped_programs()));
    let codes = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (client, routes, rpcs) = (client.clone(), routes.clone(), rpcs.clone());
            let (known, codes) = (known.clone(), codes.clone());
            tokio::spawn(async move {
                let mut random = Random::of(seed, number);
                for turn in 0..calls / CALLERS {
                    // Every RPC in turn, so that none is left out however short the run is.
                    let rpc = &rpcs[(turn + number) % rpcs.len()];
                    let (caller, request) = {
                        let known = known.lock().unwrap();
                        (Caller::any(&mut random, &known), known.request(&mut random, &rpc.input()))
                    };
                    let bytes = request.encode_to_vec();
                    let code = match call(&client, &routes, &caller, rpc, bytes).await {
                        Ok(answers) => {
                            let mut known = known.lock().unwrap();
                            for answer in answers {
                                let answer =
                                    DynamicMessage::decode(rpc.output(), &answer[..]).unwrap();
                                known.learn(&answer);
                            }
                            "OK".to_owned()
                        }
                        Err(status) => {
                            judge(rpc, &caller, &request, &status);
                            format!("{:?}", status.code())
                        }
                    };
                    *codes.lock().unwrap().entry(code).or_default() += 1;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap_or_else(|error| panic!("with seed {seed}: {error}"));
    }
    let codes = codes.lock().unwrap().clone();
    println!("{codes:?}");
    let good = codes.get("OK").copied().unwrap_or_default();
    // An eighth or so: the others name what is not there, or come from somebody who may not.
    assert!(good * 16 > calls, "hardly any request is carried out: {codes:?}");
    let ready = plain_http::get(&server.address, "/readyz", &[]).await.unwrap();
    assert_eq!(ready.status, 200, "{ready:?}");
    server.stop().await;
    database.check().await;
}
