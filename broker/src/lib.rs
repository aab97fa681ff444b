//! jackfield
