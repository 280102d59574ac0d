// Command bench measures Levada, and beside it NATS JetStream on the same
// machine in the same run, and prints figures for the benchmark page.
//
// Everything is black box: it builds both servers, starts three real processes of
// one system at a time on loopback, loads them through their own public
// clients, reads their CPU and memory from /proc, kills what it started, and
// deletes what they wrote. Systems take turns, so that a slow minute of the
// machine hurts all of them.
//
// It asserts nothing about speed. It is a module of its own so that the
// peers' libraries stay out of the server's dependencies.
//
//	cd tests/bench && go run . all
package main
