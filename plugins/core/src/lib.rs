//! jackfield-core
