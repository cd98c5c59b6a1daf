// Package powerloss cuts the power under the embedded store, and checks that
// what it acknowledged is there afterwards. It stands outside the flow and holds
// tests only.
//
// A kill leaves what a process has written with the operating system; a power
// cut does not. So the files of a real store are watched below SQLite, at its
// VFS: every write, truncation, sync, creation and removal, in order. From that
// record the disk is made as a power cut at any instant could have left it:
// what was synced is there, and of the rest any part, in any order, torn at
// sectors. The real store is opened on it.
package powerloss
