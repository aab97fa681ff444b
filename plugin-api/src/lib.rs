//! jackfield-plugin-api
