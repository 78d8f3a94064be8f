//! Guarantees of a cluster of many nodes, on a simulated network: no node is lost, none can be forged, EC2 is not
//! overrun.

use crate::simulation::{KEY, Simulation};
use myelin_agent::gossip::key::Ring;
use myelin_agent::gossip::seal::{Kind, NOBODY, Sealer};
use myelin_agent::presence::Presence;
use std::time::Duration;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn minutes(n: u64) -> Duration {
    secs(n * 60)
}

/// A settled cluster.
fn cluster(seed: u64, nodes: usize) -> Simulation {
    let mut world = Simulation::new(seed);
    world.launch(nodes, "prod");
    world.until(minutes(3), Simulation::settled);
    world
}

/// Number of nodes: the default, or `MYELIN_AGENTS` (the bench uses 1,000; a debug build would take minutes for that).
fn nodes_or(usual: usize) -> usize {
    let named = std::env::var("MYELIN_AGENTS").ok();
    named.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// The requests of the nodes and the controller to EC2 so far, and their results.
fn account(world: &Simulation) -> String {
    let (asked, c) = (world.nodes.iter().map(|n| n.asked).sum::<u32>(), &world.controller);
    format!(
        "{} nodes, {} s: of nodes {asked} questions ({} refused) and {} tag writes ({} refused); of a controller {} looks ({} refused) \
         and {} marks ({} refused, at most {} tries for one)",
        world.nodes.len(),
        world.now.as_secs(),
        world.refused.0,
        world.tag_writes.0,
        world.tag_writes.1,
        c.looks,
        world.refused.1,
        c.marks,
        c.refused,
        c.most_tries,
    )
}

/// 99 % of all pairs know each other after two of the intervals at which this many nodes query EC2 (30 s, or a fifth of
/// a second per node, because the tags of that many do not exist earlier). The last one is known everywhere some
/// seconds later.
fn settles_in_two_intervals(world: &mut Simulation) -> Duration {
    let nodes = u64::try_from(world.nodes.len()).expect("few");
    let intervals = 2 * secs(30.max(nodes / 5));
    let settled = world.within(intervals, Simulation::settled);
    assert!(world.known() >= 0.99, "of all pairs {} know each other", world.known());
    settled.unwrap_or_else(|| intervals + world.until(secs(30), Simulation::settled))
}

#[test]
fn nodes_that_boot_together_find_each_other_and_notice_that_a_third_of_them_is_gone() {
    let count = nodes_or(300);
    let mut world = Simulation::new(7);
    world.launch(count, "prod");
    let found = settles_in_two_intervals(&mut world);
    let (packets, bytes) = (world.packets, world.bytes);
    world.pass(minutes(1));
    let per_node = |n: u64| n / count as u64 / 60;
    println!(
        "{count} nodes: all know all {:.1} s after a common start; then {} packets and {} bytes a second and node",
        found.as_secs_f64(),
        per_node(world.packets - packets),
        per_node(world.bytes - bytes),
    );
    assert!(world.settled(), "nobody is called down for nothing");

    for n in (0..count)
        .step_by(10)
        .flat_map(|n| [n, n + 3, n + 6])
        .filter(|n| *n < count)
    {
        world.kill(n);
    }
    let noticed = world.until(minutes(3), Simulation::settled);
    println!(
        "{count} nodes: all see that 30 % are gone after {:.1} s",
        noticed.as_secs_f64()
    );
    assert!(noticed <= minutes(3));
    println!("{}", account(&world));
    assert_eq!(
        world.refused,
        (0, 0),
        "neither nodes nor controller meet the limit of EC2's rate"
    );
}

/// The same account, kept by the sandbox: its buckets, its lists, the agent's own requests over HTTP.
#[test]
fn nodes_that_boot_together_leave_a_controller_its_share_of_the_sandboxs_request_rates() {
    let count = nodes_or(150);
    let mut world = Simulation::new(21);
    world.launch_served(count, "prod");
    let found = settles_in_two_intervals(&mut world);
    let tagged = world.until(minutes(15), Simulation::all_tagged);
    println!(
        "against the sandbox: all know all {:.1} s after a common start, all are tagged after {:.0} s",
        found.as_secs_f64(),
        (found + tagged).as_secs_f64()
    );
    println!("{}", account(&world));
    assert_eq!(world.refused, (0, 0), "of looks none is refused");
    assert!(world.controller.looks >= 60 && world.controller.marks >= 60);
    assert!(
        world.controller.most_tries <= 3,
        "a mark is taken within three seconds, also while all nodes write their tags"
    );
    // Apart from the burst, which no node can foresee, none is refused.
    let late = u32::try_from(count.saturating_sub(100)).expect("few") + world.controller.refused;
    assert!(world.tag_writes.1 <= late + late / 10, "{:?}", world.tag_writes);
}

#[test]
fn in_an_hour_a_node_asks_ec2_as_often_as_the_rule_says() {
    // Every 30 s makes 120; among a thousand it is every 200 s.
    for (count, time, between) in [(12, 60, 100.0..140.0), (nodes_or(12), 15, 13.0..140.0)] {
        let mut world = cluster(11, count);
        let asked = |w: &Simulation| f64::from(w.nodes.iter().map(|n| n.asked).sum::<u32>());
        let before = asked(&world);
        world.pass(minutes(time));
        let hourly = (asked(&world) - before) / count as f64 * 60.0 / time as f64;
        println!("{count} nodes: {hourly:.0} questions to EC2 per node and hour");
        assert!(between.contains(&hourly), "{count} nodes: {hourly}");
        assert!(world.settled());
    }
}

#[test]
fn a_zone_that_is_cut_off_is_noticed_on_both_sides_and_the_split_heals() {
    let count = nodes_or(60);
    let mut world = cluster(3, count);
    world.way.cut = |from, to| (from % 3 == 1) != (to % 3 == 1);
    let split = world.until(minutes(2), |w| {
        w.are_alone(|n| n % 3 == 1) && w.are_alone(|n| n % 3 != 1)
    });
    world.pass(minutes(5));
    world.way.cut = |_, _| false;
    let healed = world.until(minutes(3), Simulation::settled);
    println!(
        "{count} nodes: a zone that is cut off is noticed on both sides after {:.1} s, and five minutes later all know all {:.1} s after it \
         is no more",
        split.as_secs_f64(),
        healed.as_secs_f64()
    );
    assert!(split <= secs(60), "{split:?}");
    assert!(healed <= minutes(2), "{healed:?}");
}

#[test]
fn a_zone_that_hears_and_is_not_heard_is_noticed_on_both_sides_and_comes_back() {
    let mut world = cluster(15, 45);
    world.way.cut = |from, to| from % 3 == 1 && to % 3 != 1;
    let split = world.until(minutes(3), |w| w.are_alone(|n| n % 3 != 1));
    assert!(split <= minutes(1), "{split:?}");
    world.pass(minutes(3));
    assert!(world.are_alone(|n| n % 3 != 1), "what it hears does not bring it back");
    world.way.cut = |_, _| false;
    let healed = world.until(minutes(4), Simulation::settled);
    assert!(healed <= minutes(2), "{healed:?}");
}

#[test]
fn two_nodes_of_which_one_does_not_hear_the_other_keep_each_other_for_others_hear_both() {
    let mut world = cluster(16, 30);
    world.way.cut = |from, to| from == 4 && to == 9;
    for _ in 0..120 {
        world.pass(secs(5));
        assert!(world.settled(), "at {:?}", world.now);
    }
}

#[test]
fn a_zone_that_is_gone_is_noticed_within_a_minute() {
    let count = nodes_or(90);
    let mut world = cluster(4, count);
    for n in world.alive().into_iter().filter(|n| n % 3 == 2) {
        world.kill(n);
    }
    let noticed = world.until(minutes(2), Simulation::settled);
    println!(
        "{count} nodes: all see that a zone is gone after {:.1} s",
        noticed.as_secs_f64()
    );
    assert!(noticed <= minutes(1), "{noticed:?}");
}

#[test]
fn with_a_tenth_of_the_packets_lost_nobody_stays_lost() {
    let mut world = Simulation::new(5);
    world.way.loss = 0.1;
    world.launch(60, "prod");
    world.until(minutes(3), Simulation::settled);
    let mut unsettled = 0;
    for _ in 0..120 {
        world.pass(secs(5));
        unsettled += u32::from(!world.settled());
    }
    assert!(
        unsettled <= 6,
        "of 120 looks in ten minutes {unsettled} saw somebody missing"
    );
}

#[test]
fn who_drains_is_known_to_all_within_a_second_and_comes_back_when_it_is_called_off() {
    for loss in [0.0, 0.1] {
        let mut world = cluster(6, 120);
        world.way.loss = loss;
        let out = world.nodes[17]
            .membership
            .as_mut()
            .expect("it runs")
            .set_presence(Presence::Draining);
        world.act(17, out);
        world.pass(secs(1));
        assert_eq!(world.seen_as(17, Presence::Draining), 119, "with {loss} lost");
        assert_eq!(world.seen_as(17, Presence::Ready), 0);
        let out = world.nodes[17]
            .membership
            .as_mut()
            .expect("it runs")
            .set_presence(Presence::Ready);
        world.act(17, out);
        world.until(secs(20), |w| w.seen_as(17, Presence::Ready) == 119);
    }
}

#[test]
fn a_node_that_says_good_bye_is_forgotten_at_once() {
    let mut world = cluster(8, 50);
    let out = world.nodes[3].membership.as_mut().expect("it runs").leave();
    world.act(3, out);
    world.kill(3);
    world.pass(secs(1));
    assert!(world.settled());
}

#[test]
fn a_node_that_starts_again_with_a_clock_that_went_back_or_ahead_is_taken_in() {
    let day = 86_400_000;
    for off in [-day, -3_600_000, -1, 3_600_000, 365 * day] {
        let mut world = cluster(9, 30);
        world.kill(7);
        world.pass(secs(2));
        world.start(7, off);
        let back = world.until(minutes(4), Simulation::settled);
        assert!(back <= minutes(3), "{off} ms: {back:?}");
        // And again, after the clock was set right.
        world.kill(7);
        world.pass(secs(40));
        world.start(7, 0);
        world.until(minutes(4), Simulation::settled);
    }
}

#[test]
fn tags_that_lag_by_a_minute_delay_and_do_no_more() {
    let mut world = Simulation::new(10);
    world.tag_lag = secs(60);
    world.launch(40, "prod");
    let found = world.until(minutes(4), Simulation::settled);
    assert!(found <= secs(60) + 3 * secs(30), "{found:?}");
}

#[test]
fn two_clusters_side_by_side_with_one_key_never_mix_even_where_ec2_lists_both() {
    let mut world = Simulation::new(12);
    world.careless = true;
    world.launch(20, "prod");
    world.launch(20, "test");
    world.until(minutes(3), Simulation::settled);
    for _ in 0..60 {
        world.pass(secs(5));
        for n in world.alive() {
            let own = world.nodes[n].cluster;
            let peers = world.nodes[n].membership.as_ref().expect("it runs").peers();
            for peer in peers {
                let other = usize::from_str_radix(peer.instance.trim_start_matches("i-"), 16).expect("a name");
                assert_eq!(world.nodes[other].cluster, own);
            }
        }
    }
    let foreign: u64 = world
        .nodes
        .iter()
        .filter_map(|n| n.membership.as_ref())
        .map(|m| m.drops.foreign)
        .sum();
    assert!(foreign > 0, "they did greet each other");
}

#[test]
fn recorded_forged_and_changed_packets_change_nothing() {
    let mut world = cluster(13, 20);
    world.recorded = Some(Vec::new());
    world.pass(secs(30));
    // Node 5 says that it drains, comes back, and is killed; all of it is on record.
    for presence in [Presence::Draining, Presence::Ready] {
        let out = world.nodes[5]
            .membership
            .as_mut()
            .expect("it runs")
            .set_presence(presence);
        world.act(5, out);
        world.pass(secs(5));
    }
    let recorded = world.recorded.take().expect("it was kept");
    world.kill(5);
    world.until(minutes(1), Simulation::settled);
    // One node was restarted since; recorded packets must not mean anything to it either.
    world.kill(9);
    world.pass(secs(3));
    world.start(9, 0);
    world.until(minutes(2), Simulation::settled);

    let mut stranger = Sealer::new(
        Ring::new("a key that the stranger has made up", "prod", "worker").expect("a key"),
        [77; 16],
    );
    let mut neighbour = Sealer::new(Ring::new(KEY, "test", "worker").expect("a key"), [78; 16]);
    let dropped = |w: &Simulation| -> u64 {
        w.nodes
            .iter()
            .filter_map(|n| n.membership.as_ref())
            .map(|m| m.drops.foreign + m.drops.replayed)
            .sum()
    };
    let before = dropped(&world);
    let everywhere: Vec<_> = world.alive().iter().map(|n| world.nodes[*n].address).collect();
    let mut sent = 0;
    for (at, (from, to, bytes)) in recorded.iter().enumerate() {
        let elsewhere = everywhere[at % everywhere.len()];
        let mut changed = bytes.clone();
        let last = changed.len() - 1;
        changed[at % last] ^= 0x40;
        let forged = stranger.seal(Kind::Swim, &NOBODY, &bytes[30..]).0;
        let alien = neighbour.seal(Kind::Greeting, &NOBODY, b"let me in").0;
        for (to, packet) in [
            (*to, bytes.clone()),
            (elsewhere, bytes.clone()),
            (*to, changed),
            (elsewhere, forged),
            (elsewhere, alien),
        ] {
            world.send(*from, to, packet);
            sent += 1;
        }
        if at % 50 == 0 {
            world.pass(Duration::from_millis(5));
        }
    }
    for _ in 0..20 {
        world.pass(secs(1));
        assert!(
            world.settled(),
            "node 5 is gone and stays so, and nobody else is missed"
        );
    }
    assert_eq!(world.seen_as(9, Presence::Ready), 18);
    let dropped = dropped(&world) - before;
    // Packets to the dead node reach no one; recorded greetings are answered and lead nowhere.
    assert!(dropped > sent * 8 / 10, "{dropped} of {sent}");
}
