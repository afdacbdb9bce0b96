<p>plain <?= strtoupper("template") ?></p>
