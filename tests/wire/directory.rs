use crate::wire::{
    ldap::{done, message},
    script::*,
    tls::{ECDSA, RSA, acceptor, certificate},
};
use exchange_preflight::wire::{
    budget::Budgets,
    clock::Clock,
    conversation::Wire,
    credential::{Credential, Password},
    stores::Stores,
};
use exchange_preflight_checks::{
    facts::search::{DirectoryEntries, DirectorySearch, Value},
    model::{
        ask::{Ask, Endpoint, Facts},
        evidence::{End, Miss, Reason, Reply, Stage},
        plan::{Logon, LogonWay},
    },
};
use ldap3_proto::{
    LdapCodec,
    control::LdapControl,
    proto::{LdapBindCred, LdapMsg, LdapOp, LdapSearchRequest},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::{bytes::BytesMut, codec::Decoder as _};

/// The name in the certificates of the tests.
pub(super) const HOST: &str = "mail.contoso.com";
const CONTOSO: &str = "DC=contoso,DC=com";

/// A request, as a server hears it.
pub(super) struct Heard {
    pub(super) id: u32,
    operation: LdapOp,
    /// The cookie of the page that is asked for.
    pub(super) cookie: Option<Vec<u8>>,
    /// How many searches there were on this connection, with this one.
    pub(super) count: usize,
}

impl Heard {
    pub(super) fn search(&self) -> &LdapSearchRequest {
        let LdapOp::SearchRequest(search) = &self.operation else { panic!("no search: {:?}", self.operation) };
        search
    }
}

/// What a server says to a search: bytes, and whether it then hangs up.
pub(super) enum Says {
    On(Vec<u8>),
    Last(Vec<u8>),
}

/// How TLS begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    AtOnce,
    Asked,
    /// With bytes in plain text behind the consent.
    Injected,
}

/// A directory that plays from a script, and counts.
pub(super) struct Directory {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    binds: Arc<AtomicUsize>,
}

impl Directory {
    /// `bind` is the answer to a logon: a result code and its words, or none at all.
    async fn new<S>(begins: Begins, bind: Option<(u8, &'static str)>, script: S) -> Self
    where
        S: Fn(&Heard) -> Says + Send + Sync + 'static,
    {
        let (connections, binds, script) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::new(script));
        let (seen, bound, acceptor) = (Arc::clone(&connections), Arc::clone(&binds), acceptor(&[]));
        let address = tcp(move |mut stream: TcpStream| {
            let (bound, script, acceptor) = (Arc::clone(&bound), Arc::clone(&script), acceptor.clone());
            seen.fetch_add(1, Ordering::SeqCst);
            async move {
                if begins != Begins::AtOnce {
                    let Some(Heard { id, operation: LdapOp::ExtendedRequest(request), .. }) =
                        hear_ldap(&mut stream, &mut BytesMut::new(), &mut 0).await
                    else {
                        return;
                    };
                    assert_eq!(request.name, "1.3.6.1.4.1.1466.20037");
                    let mut consent =
                        message(id, &der(0x78, &[der(0x0a, &[0]), der(0x04, b""), der(0x04, b"")].concat()));
                    if begins == Begins::Injected {
                        consent.extend(message(2, &bound_as(0, "")));
                    }
                    let _ = stream.write_all(&consent).await;
                }
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let (mut unread, mut count) = (BytesMut::new(), 0);
                while let Some(heard) = hear_ldap(&mut stream, &mut unread, &mut count).await {
                    let said = match (&heard.operation, bind) {
                        (LdapOp::BindRequest(request), bind) => {
                            assert_eq!(request.dn, "reader@contoso.com");
                            assert!(matches!(&request.cred, LdapBindCred::Simple(password) if password == "secret"));
                            bound.fetch_add(1, Ordering::SeqCst);
                            let Some((code, words)) = bind else { continue };
                            Says::On(message(heard.id, &bound_as(code, words)))
                        }
                        (LdapOp::SearchRequest(_), _) => script(&heard),
                        _ => continue,
                    };
                    let (Says::On(bytes) | Says::Last(bytes)) = &said;
                    let _ = stream.write_all(bytes).await;
                    let _ = stream.flush().await;
                    if matches!(said, Says::Last(_)) {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            }
        })
        .await;
        Self { address, connections, binds }
    }

    /// One that lets us in over LDAPS.
    pub(super) async fn open<S>(script: S) -> Self
    where
        S: Fn(&Heard) -> Says + Send + Sync + 'static,
    {
        Self::new(Begins::AtOnce, Some((0, "")), script).await
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.binds.load(Ordering::SeqCst))
    }
}

async fn hear_ldap<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    unread: &mut BytesMut,
    count: &mut usize,
) -> Option<Heard> {
    loop {
        if let Some(LdapMsg { msgid, op, ctrl }) =
            LdapCodec::new(Some(1 << 20), None).decode(unread).expect("it is LDAP")
        {
            *count += usize::from(matches!(op, LdapOp::SearchRequest(_)));
            let cookie = ctrl.into_iter().find_map(|control| match control {
                LdapControl::SimplePagedResults { cookie, .. } => Some(cookie),
                _ => None,
            });
            let id = u32::try_from(msgid).expect("no notice");
            return Some(Heard { id, operation: op, cookie, count: *count });
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
}

fn bound_as(code: u8, words: &str) -> Vec<u8> {
    der(0x61, &[der(0x0a, &[code]), der(0x04, b""), der(0x04, words.as_bytes())].concat())
}

pub(super) fn entry(dn: &[u8], attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let attribute = |(name, values): &(&str, &[&[u8]])| {
        let values: Vec<u8> = values.iter().flat_map(|value| der(0x04, value)).collect();
        der(0x30, &[der(0x04, name.as_bytes()), der(0x31, &values)].concat())
    };
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    der(0x64, &[der(0x04, dn), der(0x30, &attributes)].concat())
}

fn named(name: &str) -> Vec<u8> {
    entry(format!("CN={name},{CONTOSO}").as_bytes(), &[("cn", &[name.as_bytes()])])
}

/// The messages of one answer.
pub(super) fn answer(heard: &Heard, operations: &[Vec<u8>]) -> Vec<u8> {
    operations.iter().flat_map(|operation| message(heard.id, operation)).collect()
}

/// A page, and the cookie for the next.
pub(super) fn page(heard: &Heard, entries: &[Vec<u8>], cookie: &[u8]) -> Vec<u8> {
    last_page(heard, entries, &[der(0x02, &[0]), der(0x04, cookie)].concat())
}

fn last_page(heard: &Heard, entries: &[Vec<u8>], value: &[u8]) -> Vec<u8> {
    let control = [der(0x04, b"1.2.840.113556.1.4.319"), der(0x04, &der(0x30, value))].concat();
    let mut bytes = answer(heard, entries);
    bytes.extend(message(heard.id, &[done(0, b""), der(0xa0, &der(0x30, &control))].concat()));
    bytes
}

pub(super) fn trusted() -> Stores {
    Stores::new([("company".to_string(), vec![certificate(RSA), certificate(ECDSA)])].into())
}

fn credential(way: LogonWay) -> Credential {
    let logon = Logon { user: Some("reader".into()), way };
    let password = Password::new("secret".to_string().into()).expect("a password");
    Credential::new(&logon, "contoso.com", Some(password)).expect("a credential")
}

pub(super) fn wire_within(budgets: Budgets, way: LogonWay, stores: Stores) -> Wire {
    Wire::new(Clock::start(), budgets, None, stores, Some(credential(way))).expect("a wire")
}

/// For silence behind a handshake, which itself takes its time on a busy machine.
pub(super) fn silence() -> Budgets {
    Budgets { connect: Duration::from_secs(3), reply: Duration::from_secs(3), ..patient() }
}

pub(super) fn wire() -> Wire {
    wire_within(patient(), LogonWay::Ldaps, trusted())
}

fn ask_of(to: SocketAddr, host: &str) -> Ask {
    let to = Endpoint { host: host.into(), address: Some(to.ip()), port: to.port() };
    Ask::new(to, DirectorySearch::below(CONTOSO, "(cn=*)", &["cn"]))
}

async fn search_on(wire: &Wire, to: SocketAddr) -> Reply {
    converse(wire, &ask_of(to, HOST)).await
}

async fn search(to: &Directory) -> Reply {
    search_on(&wire(), to.address).await
}

#[track_caller]
fn entries(reply: &Reply) -> &DirectoryEntries {
    let Some(Facts::DirectorySearch(found)) = &reply.facts else { panic!("nothing was found: {reply:?}") };
    found
}

fn names(found: &DirectoryEntries) -> Vec<&str> {
    found.entries.iter().filter_map(|entry| entry.text("cn")).collect()
}

#[track_caller]
pub(super) fn words(reply: &Reply) -> &str {
    let End::Miss(Miss {
        reason: Reason::ServerSaid(words) | Reason::Local(words) | Reason::NotTheProtocol(words),
        ..
    }) = &reply.end
    else {
        panic!("no words: {reply:?}")
    };
    words
}

fn one_entry(heard: &Heard) -> Says {
    Says::On(page(heard, &[named("EX01")], b""))
}

#[tokio::test]
async fn one_session_serves_all_searches_of_a_service() {
    for (way, begins) in [(LogonWay::Ldaps, Begins::AtOnce), (LogonWay::Starttls, Begins::Asked)] {
        let server = Directory::new(begins, Some((0, "")), one_entry).await;
        let wire = wire_within(patient(), way, trusted());
        for attribute in ["cn", "objectGUID", "servicePrincipalName"] {
            let ask = Ask { what: DirectorySearch::of(CONTOSO, &[attribute]).into(), ..ask_of(server.address, HOST) };
            let reply = converse(&wire, &ask).await;
            assert_eq!(reply.end, End::Ok);
            assert_eq!((names(entries(&reply)), entries(&reply).result), (vec!["EX01"], Some(0)));
        }
        assert_eq!(server.counts(), (1, 1));
    }
}

#[tokio::test]
async fn no_password_follows_a_certificate_that_is_not_believed() {
    for (way, begins) in [(LogonWay::Ldaps, Begins::AtOnce), (LogonWay::Starttls, Begins::Asked)] {
        let server = Directory::new(begins, Some((0, "")), one_entry).await;
        let stranger = converse(&wire_within(patient(), way, Stores::default()), &ask_of(server.address, HOST)).await;
        assert_eq!(missed(&stranger), (Stage::Tls, Why::Local));
        let other_name = ask_of(server.address, "dc1.contoso.com");
        let other_name = converse(&wire_within(patient(), way, trusted()), &other_name).await;
        assert_eq!(missed(&other_name), (Stage::Tls, Why::Local));
        assert!(words(&other_name).contains("dc1.contoso.com"), "{other_name:?}");
        assert_eq!(server.counts(), (2, 0));
    }
}

#[tokio::test]
async fn what_comes_in_plain_text_before_tls_ends_it() {
    let server = Directory::new(Begins::Injected, Some((0, "")), one_entry).await;
    let reply = converse(&wire_within(patient(), LogonWay::Starttls, trusted()), &ask_of(server.address, HOST)).await;
    assert_eq!(missed(&reply), (Stage::Tls, Why::NotTheProtocol));
    assert_eq!(server.counts(), (1, 0));
}

#[tokio::test]
async fn a_server_that_does_not_begin_tls_gets_no_password() {
    let refusal = der(0x78, &[der(0x0a, &[52]), der(0x04, b""), der(0x04, b"no certificate")].concat());
    let server = says(message(1, &refusal), Then::Wait).await;
    let reply = converse(&wire_within(patient(), LogonWay::Starttls, trusted()), &ask_of(server, HOST)).await;
    assert_eq!(missed(&reply), (Stage::Tls, Why::ServerSaid));
}

#[tokio::test]
async fn a_refused_password_is_tried_nowhere_else() {
    const WRONG: &str = "80090308: LdapErr: DSID-0C09042F, comment: AcceptSecurityContext error, data 52e, v3839";
    let (first, second) =
        (Directory::new(Begins::AtOnce, Some((49, WRONG)), one_entry).await, Directory::open(one_entry).await);
    let wire = wire();
    let refused = search_on(&wire, first.address).await;
    assert_eq!(missed(&refused), (Stage::Bind, Why::ServerSaid));
    for server in [&second, &first] {
        let later = search_on(&wire, server.address).await;
        assert_eq!((missed(&later), words(&later)), ((Stage::Bind, Why::ServerSaid), words(&refused)));
    }
    assert_eq!((first.counts(), second.counts()), ((1, 1), (0, 0)));
}

#[tokio::test]
async fn all_who_ask_at_once_try_it_once() {
    let servers = [
        Directory::new(Begins::AtOnce, Some((49, "data 52e")), one_entry).await,
        Directory::new(Begins::AtOnce, Some((49, "data 775")), one_entry).await,
    ];
    let wire = wire();
    let (one, other) = tokio::join!(search_on(&wire, servers[0].address), search_on(&wire, servers[1].address));
    assert_eq!(words(&one), words(&other));
    assert_eq!(servers.iter().map(|server| server.counts().1).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_yes_lets_others_in_and_a_later_no_closes() {
    let (good, bad) =
        (Directory::open(one_entry).await, Directory::new(Begins::AtOnce, Some((49, "data 533")), one_entry).await);
    let wire = wire();
    assert_eq!(search_on(&wire, good.address).await.end, End::Ok);
    assert_eq!(missed(&search_on(&wire, bad.address).await), (Stage::Bind, Why::ServerSaid));
    assert_eq!(missed(&search_on(&wire, good.address).await), (Stage::Bind, Why::ServerSaid));
    assert_eq!((good.counts(), bad.counts()), ((1, 1), (1, 1)));
}

#[tokio::test]
async fn silence_after_the_password_counts_as_a_try() {
    let (silent, other) = (Directory::new(Begins::AtOnce, None, one_entry).await, Directory::open(one_entry).await);
    let wire = wire_within(silence(), LogonWay::Ldaps, trusted());
    assert_eq!(missed(&search_on(&wire, silent.address).await), (Stage::Bind, Why::Silent));
    assert_eq!(missed(&search_on(&wire, other.address).await), (Stage::Bind, Why::Local));
    assert_eq!((silent.counts(), other.counts()), ((1, 1), (0, 0)));
}

#[tokio::test]
async fn who_never_saw_the_password_has_not_judged_it() {
    let good = Directory::open(one_entry).await;
    let wire = wire_within(silence(), LogonWay::Ldaps, trusted());
    assert_eq!(missed(&search_on(&wire, closed_tcp().await).await), (Stage::Connect, Why::Refused));
    assert_eq!(missed(&search_on(&wire, says(Vec::new(), Then::Wait).await).await), (Stage::Tls, Why::Silent));
    assert_eq!(missed(&search_on(&wire, says(Vec::new(), Then::Close).await).await), (Stage::Tls, Why::Closed));
    let wrong_name = converse(&wire, &ask_of(good.address, "dc1.contoso.com")).await;
    assert_eq!(missed(&wrong_name), (Stage::Tls, Why::Local));
    assert_eq!(search_on(&wire, good.address).await.end, End::Ok);
}

/// Busy is no verdict on a password.
#[tokio::test]
async fn a_server_that_judges_no_password_leaves_it_to_others() {
    let wire = wire();
    for code in [8, 13, 51, 52] {
        let busy = Directory::new(Begins::AtOnce, Some((code, "busy")), one_entry).await;
        assert_eq!(missed(&search_on(&wire, busy.address).await), (Stage::Bind, Why::NoLogon), "{code}");
    }
    assert_eq!(search_on(&wire, Directory::open(one_entry).await.address).await.end, End::Ok);
}

#[tokio::test]
async fn nobody_logs_on_who_was_not_asked_to() {
    let server = Directory::open(one_entry).await;
    let wire = Wire::new(Clock::start(), patient(), None, trusted(), None).expect("a wire");
    assert_eq!(missed(&search_on(&wire, server.address).await), (Stage::Bind, Why::Local));
    assert_eq!(server.counts(), (0, 0));
}

#[tokio::test]
async fn pages_follow_one_another() {
    // Active Directory's cookies differ, and Samba's is the same for all pages.
    for cookies in [[&b"one"[..], b"two"], [b"same", b"same"]] {
        let server = Directory::open(move |heard| {
            let asked = heard.cookie.as_deref().expect("pages are asked for");
            Says::On(match heard.count {
                1 => {
                    assert_eq!(asked, b"");
                    page(heard, &[named("EX01"), named("EX02")], cookies[0])
                }
                2 => {
                    assert_eq!(asked, cookies[0]);
                    page(heard, &[], cookies[1])
                }
                _ => {
                    assert_eq!(asked, cookies[1]);
                    page(heard, &[named("EX03")], b"")
                }
            })
        })
        .await;
        let reply = search(&server).await;
        assert_eq!((&reply.end, names(entries(&reply))), (&End::Ok, vec!["EX01", "EX02", "EX03"]));
    }
}

#[tokio::test]
async fn pages_without_end_have_an_end_and_what_came_is_kept() {
    let same = Directory::open(|heard| Says::On(page(heard, &[named("EX01")], b"on"))).await;
    let none = Directory::open(|heard| {
        let entries = if heard.count == 1 { vec![named("EX01")] } else { vec![] };
        Says::On(page(heard, &entries, &heard.count.to_be_bytes()))
    })
    .await;
    let long = Directory::open(|heard| Says::On(page(heard, &[named("EX01")], &vec![0; 1 << 20]))).await;
    let deep = Directory::open(|heard| {
        let deep = (0..20_000).fold(vec![0x04, 0], |inside: Vec<u8>, _| {
            [&[0x30, 0x84][..], &u32::try_from(inside.len()).expect("small").to_be_bytes(), &inside].concat()
        });
        Says::On(last_page(heard, &[named("EX01")], &deep))
    })
    .await;
    for server in [same, none, long, deep] {
        let reply = search(&server).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol));
        assert_eq!(names(entries(&reply)), ["EX01"]);
        assert!(words(&reply).starts_with("only the first 1"), "{reply:?}");
    }
}

#[tokio::test]
async fn entries_without_end_have_an_end() {
    let server = Directory::open(|heard| {
        let many: Vec<_> = (0..500).map(|number| named(&format!("EX{}", 500 * heard.count + number))).collect();
        Says::On(page(heard, &many, b"on"))
    })
    .await;
    let reply = search(&server).await;
    assert_eq!(why(&reply), (Stage::Reply, Why::Local));
    assert!(entries(&reply).entries.len() <= 20_000);
    let large = Directory::open(|heard| {
        let value = vec![b'x'; 1 << 20];
        let many: Vec<_> =
            (0..40).map(|number| entry(format!("CN={number}").as_bytes(), &[("cn", &[&value])])).collect();
        Says::On(page(heard, &many, b""))
    })
    .await;
    let reply = search(&large).await;
    assert_eq!(why(&reply).0, Stage::Reply);
    assert!(entries(&reply).entries.len() <= 16, "no more than the bound is kept");
}

#[tokio::test]
async fn a_lost_cookie_is_told_with_what_came_before() {
    for code in [12, 53] {
        let server = Directory::open(move |heard| {
            Says::On(match heard.count {
                1 => page(heard, &[named("EX01")], b"on"),
                _ => {
                    answer(heard, &[done(code, b"00000057: LdapErr: DSID-0C090D0B, comment: Error processing control")])
                }
            })
        })
        .await;
        let reply = search(&server).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::ServerSaid));
        assert_eq!((names(entries(&reply)), entries(&reply).result), (vec!["EX01"], Some(code.into())));
    }
}

#[tokio::test]
async fn results_say_what_they_are() {
    for (code, word) in
        [(1, "bind"), (3, "MaxQueryDuration"), (4, "MaxPageSize"), (11, "limit"), (51, "busy"), (80, "80")]
    {
        let server = Directory::open(move |heard| {
            let text = b"000004DC: LdapErr: In order to perform this operation a successful bind must be completed";
            Says::On(answer(heard, &[named("EX01"), done(code, text)]))
        })
        .await;
        let wire = wire();
        let reply = search_on(&wire, server.address).await;
        assert_eq!((why(&reply), names(entries(&reply))), ((Stage::Reply, Why::ServerSaid), vec!["EX01"]), "{code}");
        let said = words(&reply);
        assert!(said.starts_with("only the first 1") && (code == 1 || said.contains(word)), "{said}");
        search_on(&wire, server.address).await;
        assert_eq!(server.counts(), (1, 1), "a result breaks no session");
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_answer() {
    let server = Directory::open(|heard| Says::On(answer(heard, &[done(32, b"0000208D: NameErr")]))).await;
    let reply = search(&server).await;
    assert_eq!(reply.end, End::Ok);
    assert_eq!(entries(&reply), &DirectoryEntries { result: Some(32), ..DirectoryEntries::default() });
}

#[tokio::test]
async fn references_are_counted_and_referrals_are_not_chased() {
    let elsewhere = Directory::open(one_entry).await;
    let url = format!("ldap://{}/DC=contoso,DC=com", elsewhere.address);
    let reference = der(0x73, &der(0x04, url.as_bytes()));
    let server = Directory::open({
        let reference = reference.clone();
        move |heard| Says::On(page(heard, &[reference.clone(), named("EX01"), reference.clone()], b""))
    })
    .await;
    let reply = search(&server).await;
    assert_eq!((&reply.end, entries(&reply).references, names(entries(&reply))), (&End::Ok, 2, vec!["EX01"]));
    let server = Directory::open(move |heard| {
        let referral =
            [der(0x0a, &[10]), der(0x04, b""), der(0x04, url.as_bytes()), der(0xa3, &der(0x04, url.as_bytes()))];
        Says::On(answer(heard, &[der(0x65, &referral.concat())]))
    })
    .await;
    let reply = search(&server).await;
    assert_eq!(why(&reply), (Stage::Reply, Why::ServerSaid));
    assert!(!words(&reply).contains("ldap://"), "{reply:?}");
    assert_eq!(elsewhere.counts(), (0, 0));
}

/// `attribute;range=from-to` with these values.
fn ranged(from: usize, to: &str, values: std::ops::Range<usize>) -> Vec<u8> {
    let values: Vec<_> = values.map(|number| format!("host/{number}").into_bytes()).collect();
    let values: Vec<_> = values.iter().map(Vec::as_slice).collect();
    let name = format!("servicePrincipalName;range={from}-{to}");
    entry(b"CN=EX01,DC=contoso,DC=com", &[("servicePrincipalName", &[]), (&name, &values), ("cn", &[b"EX01"])])
}

#[tokio::test]
async fn three_thousand_values_come_in_ranges_and_stand_together() {
    let server = Directory::open(|heard| {
        let wanted = heard.search().attrs[0].as_str();
        let (entry, base) = match wanted {
            "cn" => (ranged(0, "1499", 0..1500), CONTOSO),
            "servicePrincipalName;range=1500-*" => (ranged(1500, "2999", 1500..3000), "CN=EX01,DC=contoso,DC=com"),
            "servicePrincipalName;range=3000-*" => (ranged(3000, "*", 3000..3003), "CN=EX01,DC=contoso,DC=com"),
            other => panic!("{other}"),
        };
        assert_eq!(heard.search().base, base);
        Says::On(page(heard, &[entry], b""))
    })
    .await;
    let reply = search(&server).await;
    assert_eq!(reply.end, End::Ok);
    let [found] = &entries(&reply).entries[..] else { panic!("one entry") };
    assert_eq!(found.attributes.keys().collect::<Vec<_>>(), ["cn", "servicePrincipalName"]);
    let expected: Vec<_> = (0..3003).map(|number| format!("host/{number}")).collect();
    assert!(found.texts("servicePrincipalName").eq(expected.iter().map(String::as_str)));
}

#[tokio::test]
async fn all_values_at_once_are_right_as_well() {
    let server = Directory::open(|heard| {
        let values: Vec<_> = (0..3000).map(|number| format!("host/{number}").into_bytes()).collect();
        let values: Vec<_> = values.iter().map(Vec::as_slice).collect();
        Says::On(page(heard, &[entry(b"CN=EX01", &[("SERVICEPRINCIPALNAME", &values)])], b""))
    })
    .await;
    let reply = search(&server).await;
    assert_eq!((&reply.end, entries(&reply).entries[0].texts("servicePrincipalName").count()), (&End::Ok, 3000));
}

#[tokio::test]
async fn ranges_that_do_not_follow_one_another_end() {
    type Rest = fn(usize) -> Vec<u8>;
    let cases: [Rest; 6] = [
        |_| ranged(0, "1", 0..2),
        |_| ranged(1, "3", 1..4),
        |_| ranged(9, "*", 9..10),
        |_| ranged(2, "*", 0..0),
        |_| entry(b"CN=EX01,DC=contoso,DC=com", &[]),
        |from| ranged(from, &from.to_string(), from..from + 1),
    ];
    for rest in cases {
        let server = Directory::open(move |heard| {
            let wanted = heard.search().attrs[0].strip_prefix("servicePrincipalName;range=").map(str::to_owned);
            let from = wanted.and_then(|range| range.split_once('-')?.0.parse().ok());
            Says::On(page(heard, &[from.map_or_else(|| ranged(0, "1", 0..2), rest)], b""))
        })
        .await;
        let reply = search(&server).await;
        assert_eq!(why(&reply).0, Stage::Reply);
        assert!(entries(&reply).entries[0].texts("servicePrincipalName").count() >= 2, "what came is kept");
    }
}

#[tokio::test]
async fn values_and_names_are_kept_as_they_are() {
    let server = Directory::open(|heard| {
        let conflict = entry(b"CN=EX01\\0ACNF:9f3c,DC=contoso,DC=com", &[("objectGUID", &[&[0xff, 0, 1]])]);
        let mixed = entry(b"CN=\xff", &[("servicePrincipalName", &[b"HTTP/a", b"\xff\xfe", b"\x1b[2J", b""])]);
        Says::On(page(heard, &[conflict, mixed], b""))
    })
    .await;
    let reply = search(&server).await;
    let [conflict, mixed] = &entries(&reply).entries[..] else { panic!("two entries: {reply:?}") };
    assert_eq!(conflict.dn, "CN=EX01\\0ACNF:9f3c,DC=contoso,DC=com");
    assert_eq!(conflict.bytes("objectguid"), Some(&[0xff, 0, 1][..]));
    assert_eq!(mixed.dn, "CN=\u{fffd}");
    let values: Vec<_> = mixed.values("servicePrincipalName").iter().map(Value::bytes).collect();
    assert_eq!(values, [&b"HTTP/a"[..], b"\xff\xfe", b"\x1b[2J", b""]);
}

#[tokio::test]
async fn frames_that_would_break_a_parser_end_the_session() {
    let deep = (0..20_000).fold(vec![0x04, 0x00], |inside: Vec<u8>, _| {
        [&[0x30, 0x84][..], &u32::try_from(inside.len()).expect("small").to_be_bytes(), &inside].concat()
    });
    let cases =
        [deep, vec![0x30, 0x84, 0x06, 0x40, 0, 0, 2, 1, 4], vec![0x30, 0x80], b"HTTP/1.1 400 Bad Request\r\n".to_vec()];
    for bytes in cases {
        let server =
            Directory::open(move |heard| Says::On([answer(heard, &[named("EX01")]), bytes.clone()].concat())).await;
        let reply = search(&server).await;
        assert_eq!((why(&reply), names(entries(&reply))), ((Stage::Reply, Why::NotTheProtocol), vec!["EX01"]));
    }
}

#[tokio::test]
async fn messages_that_make_ldap3_panic_are_a_miss() {
    let cases: [fn(&Heard) -> Vec<u8>; 6] = [
        |heard| message(heard.id, &der(0x64, &[])),
        |heard| message(heard.id, &der(0x65, &[])),
        |heard| message(heard.id, &der(0x7f - 0x10, &[])),
        |heard| message(heard.id, &[named("EX02"), der(0xa0, &der(0x04, b"no control"))].concat()),
        |heard| message(heard.id, &der(0x64, &[der(0x04, b"CN=EX02"), der(0x30, &der(0x30, &[]))].concat())),
        |_| der(0x30, &[]),
    ];
    for bytes in cases {
        let server =
            Directory::open(move |heard| Says::On([answer(heard, &[named("EX01")]), bytes(heard)].concat())).await;
        let reply = search(&server).await;
        assert_eq!((why(&reply), names(entries(&reply))), ((Stage::Reply, Why::NotTheProtocol), vec!["EX01"]));
    }
}

#[tokio::test]
async fn an_answer_to_another_message_is_none() {
    let server = Directory::open(|heard| Says::On(message(heard.id + 1, &done(0, b"")))).await;
    let reply = search_on(&wire_within(silence(), LogonWay::Ldaps, trusted()), server.address).await;
    assert_eq!(missed(&reply), (Stage::Reply, Why::Silent));
}

#[tokio::test]
async fn a_notice_of_disconnection_is_heard() {
    let notice =
        [der(0x0a, &[52]), der(0x04, b""), der(0x04, b"going down"), der(0x8a, b"1.3.6.1.4.1.1466.20036")].concat();
    let server = Directory::open(move |_| Says::Last(message(0, &der(0x78, &notice)))).await;
    let reply = search(&server).await;
    assert_eq!(missed(&reply), (Stage::Reply, Why::ServerSaid));
}

#[tokio::test]
async fn a_session_that_broke_is_opened_once_more() {
    let tired = Directory::open(|heard| Says::Last(page(heard, &[named("EX01")], b""))).await;
    let wire = wire();
    assert_eq!(search_on(&wire, tired.address).await.end, End::Ok);
    // The close may be noticed before the next search or by it, and either way nothing more is asked than twice.
    for _ in 0..4 {
        search_on(&wire, tired.address).await;
    }
    assert_eq!(tired.counts(), (2, 2));
    let dead = closed_tcp().await;
    for _ in 0..3 {
        assert_eq!(missed(&search_on(&wire, dead).await), (Stage::Connect, Why::Refused));
    }
}

#[tokio::test]
async fn what_nobody_asked_for_ends_the_session() {
    let server = Directory::open(|heard| {
        let mut bytes = page(heard, &[named("EX01")], b"");
        if heard.count == 1 {
            bytes.extend(message(heard.id, &named("EX02")));
        }
        Says::On(bytes)
    })
    .await;
    let wire = wire();
    assert_eq!(names(entries(&search_on(&wire, server.address).await)), ["EX01"]);
    let again = search_on(&wire, server.address).await;
    assert!(again.facts.is_none() || names(entries(&again)) == ["EX01"], "{again:?}");
}
