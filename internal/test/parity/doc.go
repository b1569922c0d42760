// Package parity tests the numbered facts of docs/parity.md: what GNU Mailman's MTA connection does and Postrider does
// as well, or differently on purpose. A test names its facts in a line of its comment, such as "Facts 14, 26–28";
// internal/test/house holds these lines against the table, and finds them in other packages too.
package parity
