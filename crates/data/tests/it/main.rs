//! Reads a real dataset, where one is at hand.

mod cifar100;
