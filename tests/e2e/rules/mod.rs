//! The rules, by topic.

mod app_passwords;
mod certificates;
mod crash;
mod due;
mod durability;
mod email;
mod faults;
mod files;
mod ftp;
mod ftp_clients;
mod guessing;
mod integrity;
mod likeness;
mod meanwhile;
mod plugins;
mod policy;
mod race;
mod replay;
mod resume;
mod revocation;
mod sftp_details;
mod sms;
mod ssh;
mod startup;
mod strangers;
mod tus;
mod web;
mod webdav;

use crate::{
    clients::{Client, every_door},
    house::House,
    newcomer::User,
};

/// A user with an app for each door, named after the client: so no rule waits for the next code.
fn enrolled_for_each_door(house: &House) -> Vec<(Box<dyn Client>, User)> {
    let add = |client: Box<dyn Client>| {
        let user = house.newcomer(client.name()).enrolled().add();
        (client, user)
    };
    every_door(house).into_iter().map(add).collect()
}
