use crate::wire::{
    directory::{Directory, HOST, Heard, Says, answer, entry, page, silence, trusted, wire, wire_within, words},
    ldap::{done, message},
    script::*,
};
use exchange_preflight::wire::conversation::Wire;
use exchange_preflight_checks::{
    facts::{
        census::{Shared, SpnScan, SpnScanned},
        search::guid,
    },
    model::{
        ask::{Ask, Endpoint, Facts},
        evidence::{End, Reply, Stage},
        plan::LogonWay,
    },
};
use ldap3_proto::proto::LdapSearchScope;

async fn scan_on(wire: &Wire, server: &Directory) -> Reply {
    let to = Endpoint { host: HOST.into(), address: Some(server.address.ip()), port: server.address.port() };
    converse(wire, &Ask::new(to, SpnScan { aliases: vec!["http".into()] })).await
}

async fn scan(server: &Directory) -> Reply {
    scan_on(&wire(), server).await
}

#[track_caller]
fn scanned(reply: &Reply) -> &SpnScanned {
    let Some(Facts::SpnScan(scanned)) = &reply.facts else { panic!("nothing was counted: {reply:?}") };
    scanned
}

/// An account by a number that is its objectGUID.
fn account(number: u8, spns: &[&[u8]]) -> Vec<u8> {
    let dn = format!("CN={number},DC=contoso,DC=com");
    entry(dn.as_bytes(), &[("servicePrincipalName", spns), ("objectGUID", &[&[number; 16]])])
}

fn group(numbers: &[u8]) -> Shared {
    Shared(numbers.iter().filter_map(|number| guid(&[*number; 16])).collect())
}

/// One account a page, without end.
fn endless(heard: &Heard) -> Says {
    let number = u8::try_from(heard.count % 250).expect("small");
    Says::On(page(heard, &[account(number, &[format!("X/{number}").as_bytes()])], b"same"))
}

#[tokio::test]
async fn what_collides_is_found_across_pages() {
    // Active Directory's cookies differ, and Samba's is the same for all pages.
    for cookies in [[&b"one"[..], b"two"], [b"same", b"same"]] {
        let server = Directory::open(move |heard| {
            let search = heard.search();
            assert_eq!((search.base.as_str(), &search.scope), ("", &LdapSearchScope::Subtree));
            assert_eq!(search.attrs, ["servicePrincipalName", "objectGUID"]);
            let asked = heard.cookie.as_deref().expect("pages are asked for");
            Says::On(match heard.count {
                1 => {
                    assert_eq!(asked, b"");
                    page(heard, &[account(1, &[b"HTTP/a", b"http/A", b"HOST/b"]), account(2, &[b"SMTP/c"])], cookies[0])
                }
                2 => page(heard, &[], cookies[1]),
                _ => {
                    assert_eq!(asked, cookies[1]);
                    let entries =
                        [account(3, &[b"http/A"]), account(4, &[b"http/b"]), account(5, &["smt\u{440}/c".as_bytes()])];
                    page(heard, &entries, b"")
                }
            })
        })
        .await;
        let reply = scan(&server).await;
        assert_eq!(reply.end, End::Ok);
        let expected = SpnScanned {
            objects: 5,
            spns: 7,
            result: Some(0),
            shared: vec![group(&[1, 3]), group(&[2, 5])],
            aliased: vec![group(&[1, 4])],
            strange: 1,
            strange_on: group(&[5]).0,
            ..SpnScanned::default()
        };
        assert_eq!(scanned(&reply), &expected);
        assert_eq!(server.counts(), (1, 1));
    }
}

#[tokio::test]
async fn values_in_ranges_are_all_counted() {
    let ranged = |from: usize, to: &str, spns: &[&[u8]]| {
        let name = format!("servicePrincipalName;range={from}-{to}");
        entry(b"CN=1,DC=contoso,DC=com", &[("servicePrincipalName", &[]), (&name, spns), ("objectGUID", &[&[1; 16]])])
    };
    let server = Directory::open(move |heard| {
        let search = heard.search();
        Says::On(match search.attrs[0].as_str() {
            "servicePrincipalName" => page(heard, &[ranged(0, "1", &[b"X/1", b"X/2"]), account(2, &[b"X/4"])], b""),
            "servicePrincipalName;range=2-*" => {
                assert_eq!(search.base, "CN=1,DC=contoso,DC=com");
                answer(heard, &[ranged(2, "2", &[b"X/3"]), done(0, b"")])
            }
            "servicePrincipalName;range=3-*" => answer(heard, &[ranged(3, "*", &[b"x/4"]), done(0, b"")]),
            other => panic!("{other}"),
        })
    })
    .await;
    let reply = scan(&server).await;
    assert_eq!(reply.end, End::Ok);
    let SpnScanned { objects, spns, shared, .. } = scanned(&reply);
    assert_eq!((*objects, *spns, shared), (2, 5, &vec![group(&[1, 2])]));
    let stands_still = Directory::open(move |heard| {
        Says::On(page(heard, &[account(2, &[b"X/4"]), ranged(0, "1", &[b"X/1", b"X/2"])], b""))
    })
    .await;
    let reply = scan(&stands_still).await;
    assert_eq!((why(&reply), scanned(&reply).result), ((Stage::Reply, Why::NotTheProtocol), None));
}

#[tokio::test]
async fn what_is_no_text_and_what_has_no_name_is_counted() {
    let server = Directory::open(|heard| {
        let entries = [
            account(1, &[b"HTTP/\xff", b"", b"\x1b[2J"]),
            entry(b"CN=2", &[("servicePrincipalName", &[b"HTTP/a"])]),
            entry(b"CN=3", &[("servicePrincipalName", &[b"HTTP/a"]), ("objectGUID", &[b"short"])]),
            account(4, &[]),
            account(5, &[b"HTTP/\xff"]),
        ];
        Says::On(page(heard, &entries, b""))
    })
    .await;
    let reply = scan(&server).await;
    let SpnScanned { objects, spns, nameless, strange, shared, .. } = scanned(&reply);
    assert_eq!((*objects, *spns, *nameless, *strange), (2, 4, 2, 2));
    assert_eq!(shared, &[group(&[1, 5])]);
}

#[tokio::test]
async fn a_lost_cookie_is_told_with_what_came_before() {
    for code in [12, 53] {
        let server = Directory::open(move |heard| match heard.count {
            1..3 => endless(heard),
            _ => Says::On(answer(heard, &[done(code, b"00000057: LdapErr: DSID-0C090D0B, comment: Error")])),
        })
        .await;
        let reply = scan(&server).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::ServerSaid));
        assert!(words(&reply).starts_with("only the first 2 objects"), "{reply:?}");
        assert_eq!((scanned(&reply).objects, scanned(&reply).result), (2, Some(code.into())));
    }
}

#[tokio::test]
async fn pages_without_end_have_an_end() {
    let same = Directory::open(|heard| Says::On(page(heard, &[account(1, &[b"X/1"])], b"on"))).await;
    let none = Directory::open(|heard| {
        let entries = if heard.count == 1 { vec![account(1, &[b"X/1"])] } else { vec![] };
        Says::On(page(heard, &entries, &heard.count.to_be_bytes()))
    })
    .await;
    let nothing_in_them = Directory::open(|heard| {
        let entries = if heard.count == 1 { vec![account(1, &[b"X/1"])] } else { vec![account(2, &[])] };
        Says::On(page(heard, &entries, b"on"))
    })
    .await;
    let long = Directory::open(|heard| Says::On(page(heard, &[account(1, &[b"X/1"])], &vec![0; 1 << 20]))).await;
    for server in [same, none, nothing_in_them, long] {
        let reply = scan(&server).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol));
        assert_eq!(scanned(&reply).result, None);
        assert!(words(&reply).starts_with("only the first"), "{reply:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_or_no_entry_ends_it() {
    let huge = |heard: &Heard| message(heard.id, &account(2, &[&vec![b'x'; 5 << 20]]));
    let many = |heard: &Heard| (0..20).flat_map(|_| message(heard.id, &account(2, &[&vec![b'x'; 1 << 20]]))).collect();
    let broken = |heard: &Heard| message(heard.id, &der(0x64, &[]));
    let cases: [fn(&Heard) -> Vec<u8>; 3] = [huge, many, broken];
    for bytes in cases {
        let server =
            Directory::open(move |heard| Says::On([answer(heard, &[account(1, &[b"X/1"])]), bytes(heard)].concat()))
                .await;
        let reply = scan(&server).await;
        assert_eq!((why(&reply), scanned(&reply).result), ((Stage::Reply, Why::NotTheProtocol), None));
    }
}

#[tokio::test]
async fn who_falls_silent_or_leaves_in_the_middle_is_waited_for_no_longer() {
    let server = Directory::open(|heard| Says::On(answer(heard, &[account(1, &[b"X/1"])]))).await;
    let reply = scan_on(&wire_within(silence(), LogonWay::Ldaps, trusted()), &server).await;
    assert_eq!((why(&reply), scanned(&reply).objects), ((Stage::Reply, Why::Silent), 1));
    let server = Directory::open(|heard| Says::Last(answer(heard, &[account(1, &[b"X/1"])]))).await;
    let reply = scan(&server).await;
    assert_eq!((why(&reply), scanned(&reply).objects), ((Stage::Reply, Why::Closed), 1));
}

#[tokio::test]
async fn nothing_at_all_is_an_answer() {
    let server = Directory::open(|heard| Says::On(page(heard, &[], b""))).await;
    let reply = scan(&server).await;
    assert_eq!((&reply.end, scanned(&reply)), (&End::Ok, &SpnScanned { result: Some(0), ..SpnScanned::default() }));
}
