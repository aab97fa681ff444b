//! The plugins that every broker has built in. One that nobody names here is not linked, and registers nothing.

use jackfield_auth_certificate as _;
use jackfield_auth_open as _;
use jackfield_auth_static as _;
use jackfield_core as _;
use jackfield_gelf as _;
