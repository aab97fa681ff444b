//! jackfield-auth-open
