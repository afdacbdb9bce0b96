<?php
$template = $_GET["template"] ?? "plain";
include "templates/" . basename($template) . ".php";
