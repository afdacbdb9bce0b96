/* bcc's networking helpers want the name, slimtrace uses none of them. */
