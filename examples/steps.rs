use sentryban::{
    config::{self, FilterSource, Tree},
    filter::*,
};
fn main() {
    let tree = Tree::new(Some("/etc/fail2ban".into()));
    let (spec, _) = config::read_filter(&tree, FilterSource::Name("sshd"), &[], "auto").unwrap();
    let f = Filter::compile(&spec, UseDns::Warn).unwrap();
    let text = std::fs::read_to_string("/tmp/logs/s20k.log").unwrap();
    let mut mem = Memory::default();
    let (mut pre, mut n, mut unk) = (0u64, 0u64, 0);
    let mut fails = vec![(0u64, 0u64, 0u64); f.failregex.len()];
    for l in text.lines() {
        if !l.contains("sshd") {
            continue;
        }
        let t = format!("{}\n", &l[15..]);
        n += 1;
        let p = &f.prefregex.as_ref().unwrap().pattern;
        let o = p.search_ascii(t.as_bytes(), &mut mem);
        pre += mem.used() as u64;
        if n < 4 {
            println!("{t} {o:?} {}", mem.used())
        }
        let r = p.range(p.group("content").unwrap(), &mem).unwrap();
        let c = &t[r.start..];
        for (i, e) in f.failregex.iter().enumerate() {
            if let Some(b) = e.pattern.first_bytes() {
                if !b.has(c.as_bytes()[0]) {
                    continue;
                }
            }
            let o = e.pattern.search_ascii(c.as_bytes(), &mut mem);
            if o == Outcome::Unknown {
                unk += 1
            }
            fails[i].0 += mem.used() as u64;
            fails[i].1 += 1;
            if o == Outcome::Found {
                fails[i].2 += 1
            }
        }
    }
    println!("lines {n} pre {} unk {unk}", pre / n);
    for (i, (s, k, h)) in fails.iter().enumerate() {
        if *k > 0 {
            println!(
                "{} tries {k} steps {} hits {h} {}",
                i + 1,
                s / k,
                &f.failregex[i].pattern.source.chars().take(60).collect::<String>()
            )
        } else {
            println!("{} - first {:?}", i + 1, f.failregex[i].pattern.first_bytes().is_some())
        }
    }
}
