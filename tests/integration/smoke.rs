//! scratch
use crate::support::*;
#[test]
fn smoke() {
    let gate =
        Setup::new().rule("10-geo", "if req.geo.country == \"KP\" { risk.add(\"geo.kp\", 45); }").start();
    let response = gate.send(&from("175.45.176.1", "/x?y=1"));
    println!("{response:?} {}", response.text());
    println!("{:#?}", gate.records(1));
    println!("{}", gate.metrics());
    let f = gate.stop();
    println!("{}", f.log());
}
