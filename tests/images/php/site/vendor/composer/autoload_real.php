<?php
// A short form of what Composer writes: the same maps, the same computed includes.
class AutoloaderInit
{
    public static function getLoader()
    {
        $map = require __DIR__ . '/autoload_psr4.php';
        spl_autoload_register(function ($class) use ($map) {
            foreach ($map as $prefix => $directories) {
                if (str_starts_with($class, $prefix)) {
                    $file = $directories[0] . '/' . str_replace('\\', '/', substr($class, strlen($prefix))) . '.php';
                    if (is_file($file)) {
                        include $file;
                    }
                }
            }
        });
        foreach (require __DIR__ . '/autoload_files.php' as $file) {
            require $file;
        }
    }
}
