//! jackfield-auth-static
