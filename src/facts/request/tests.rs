//! How a head is read: one spelling of a path, a host without its port, cookies and parameters one by one.

use super::*;
use proptest::prelude::*;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn one_path_has_one_spelling() {
    for (sent, seen) in [
        ("/admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("//admin//x", "/admin/x"),
        ("/x/../admin", "/admin"),
        ("/./admin/.", "/admin/"),
        ("/x/%2e%2e/admin", "/admin"),
        ("/../../etc", "/etc"),
        ("/a%2Fb", "/a%2Fb"),
        ("/100%", "/100%"),
        ("/%zz", "/%zz"),
        ("/", "/"),
        ("/a/", "/a/"),
        ("/..", "/"),
    ] {
        let parts = parts(sent, &[]);
        assert_eq!(RequestHead::read(&parts, Scheme::Http).path(), seen, "{sent}");
    }
}

#[test]
fn the_host_has_no_port_and_no_capitals() {
    for (sent, seen) in [
        ("Api.Example.COM:8443", "api.example.com"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("user@example.com:80", "example.com"),
        ("example.com:", "example.com"),
        ("example.com:80a", "example.com:80a"),
        ("xn--bcher-kva.example:443", "xn--bcher-kva.example"),
        ("", ""),
    ] {
        let parts = parts("/", &[("host", sent)]);
        assert_eq!(RequestHead::read(&parts, Scheme::Http).host(), seen, "{sent}");
    }
}

#[test]
fn cookies_and_parameters_are_read_one_by_one() {
    let parts = parts("/?a=1&b=x%20y+z&c&=d&e=%ff%", &[("cookie", "s=1; t=\"2\""), ("cookie", "u=a=b")]);
    let head = RequestHead::read(&parts, Scheme::Http);
    assert_eq!(head.cookies().collect::<Vec<_>>(), [("s", "1"), ("t", "2"), ("u", "a=b")]);
    let params: Vec<_> = head.params().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(params, ["a=1", "b=x y z", "c=", "=d", "e=\u{fffd}%"]);
}

#[test]
fn a_size_that_is_no_number_is_unknown() {
    for (sent, seen) in [("12", Some(12)), (" 12 ", Some(12)), ("-1", None), ("1e3", None), ("", None)] {
        let parts = parts("/", &[("content-length", sent)]);
        assert_eq!(RequestHead::read(&parts, Scheme::Http).size(), seen, "{sent}");
    }
}

proptest! {
    #[test]
    fn normalising_is_final(path in "/[a-c./%26eE]{0,24}") {
        let once = normalise(&path).into_owned();
        prop_assert!(once.starts_with('/'));
        prop_assert!(!once.contains("/../") && !once.contains("//") && !once.contains("/./"));
    }

    #[test]
    fn any_query_is_read_without_panic(query in "\\PC{0,40}") {
        let _ = decode(&query);
    }
}
