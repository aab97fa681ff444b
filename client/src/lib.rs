//! jackfield-client
