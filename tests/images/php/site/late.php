<?php
// No probe of "/" touches this page.
require __DIR__ . '/lib/words.php';
include_once dirname(__FILE__) . "/lib/more.php";

header("Content-Type: text/plain");
echo words(), " ", more(), " ", mb_strtoupper("grüezi"), "\n";
$document = new DOMDocument();
$document->loadXML("<a><b>dom</b></a>");
echo $document->documentElement->textContent, "\n";
echo file_get_contents(__DIR__ . "/lib/words.txt");
