<!doctype html>
<p>hello <?= "php" ?></p>
